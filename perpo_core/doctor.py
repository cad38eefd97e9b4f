"""`perpo doctor`: everything that can be found wrong before any work, without loading a model.

Runs at the start of every refresh: settings that contradict each other, every row and image of the
source, free disk, the policy's folder, and whether prompts and answers fit the model. No torch, no
vLLM. Left out: whether the model can do the task (`perpo doctor --probe` samples it).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

from perpo_core.check_training import check_training
from perpo_core.collect import compute_samples_key
from perpo_core.findings import Finding, Level
from perpo_core.place import find_folder, find_obstacle, is_address, parse_place
from perpo_core.policy.check import check_policy_folder, load_special_tokens, load_tokenizer
from perpo_core.sources import jsonl
from perpo_core.sources.rows import SampleRow, SetAside
from perpo_core.store import open_store
from perpo_core.troubles import explain
from schemas.base import SPLITS, TASKS
from schemas.config import DigitsSource, JsonlSource, RefreshConfig

MAX_NAMED_ROWS = 20  # bad rows said one by one; all are counted
GB = 1e9


def check_run(config: RefreshConfig, policy_folder: Path | None = None) -> list[Finding]:
    """Every finding, errors included; `policy_folder` saves resolving `policy.model` again."""
    findings = [*check_settings(config), *check_disk(config)]
    in_bucket = check_bucket(config)
    if has_errors(in_bucket):  # policy and samples cannot be looked up there
        return findings + in_bucket
    findings += in_bucket
    folder = policy_folder
    if folder is None:
        folder, problems = _find_policy(config)
        findings += problems
    if folder is not None:
        of_policy = check_policy_folder(folder, config.policy.box_format)
        findings += of_policy
        folder = None if has_errors(of_policy) else folder
    if folder is not None:
        findings += check_training(config, folder)
    return findings + list(check_source(config, folder))


def has_errors(findings: list[Finding]) -> bool:
    """Whether a refresh must not start."""
    return any(finding.level == "error" for finding in findings)


def check_settings(config: RefreshConfig) -> list[Finding]:
    """Values that are allowed one by one and contradict each other."""
    findings = list(_find_contradictions(config))
    return findings or [Finding("ok", "configuration: settings agree")]


def check_disk(config: RefreshConfig) -> list[Finding]:
    """Room for the store, and the right to write there."""
    if obstacle := find_obstacle(config.store):
        return [Finding("error", f"store: {obstacle}")]
    place = find_folder(config.store)
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / GB
    if free_gb < config.min_free_disk_gb:
        return [
            Finding(
                "error",
                f"store: {free_gb:.1f} GB free at {place}, min_free_disk_gb asks for "
                f"{config.min_free_disk_gb:g}; make room or change store",
            )
        ]
    return [Finding("ok", f"store: {free_gb:.1f} GB free at {place}")]


def check_bucket(config: RefreshConfig) -> list[Finding]:
    """Of a store in a bucket: whether it can be read and written, and keeps to conditions."""
    if not is_address(config.store):
        return []
    from perpo_core.remote import RemoteError, open_remote  # only where asked for

    try:
        open_remote(str(parse_place(config.store))).check()
    except RemoteError as error:
        return [Finding("error", str(error))]
    return [Finding("ok", f"store: {config.store} can be read and written")]


def check_source(config: RefreshConfig, policy_folder: Path | None = None) -> Iterator[Finding]:
    """Every row of a source of files; not again when the store already holds its samples.

    `policy_folder`: a sound one, against which prompts and true texts are checked too.
    """
    source = config.source
    if isinstance(source, DigitsSource):
        yield Finding("ok", "source: digit scenes, exact by construction")
        return
    try:
        key = compute_samples_key(config)
        rows = None if _holds_samples(config, key) else list(_slim_rows(source))
    except (OSError, ValueError) as error:
        yield Finding("error", f"source: {explain(error)}")
        return
    if rows is None:
        yield Finding("ok", "source: unchanged since its samples were collected")
        return
    bad = [row for row in rows if isinstance(row, SetAside)]
    good = [row for row in rows if not isinstance(row, SetAside)]
    yield from _report_bad_rows(source, bad)
    yield from _report_splits(config, good)
    yield from _report_conflicts(good)
    if policy_folder is not None:
        yield from _check_texts(config, policy_folder, good)
    if good:
        yield Finding("ok", f"source: {len(good)} rows are usable")


def _find_contradictions(config: RefreshConfig) -> Iterator[Finding]:
    generate, policy, source = config.generate, config.policy, config.source
    if generate.max_tokens >= policy.max_model_len:
        yield Finding(
            "error",
            f"configuration: generate.max_tokens ({generate.max_tokens}) must be less than "
            f"policy.max_model_len ({policy.max_model_len}), which holds the prompt too",
        )
    if config.lists.list_size > generate.num_candidates:
        yield Finding(
            "warning",
            f"configuration: lists.list_size ({config.lists.list_size}) is more than "
            f"generate.num_candidates ({generate.num_candidates}); lists will be shorter",
        )
    if isinstance(source, JsonlSource) and source.validation_share + source.test_share >= 1:
        yield Finding(
            "error",
            f"configuration: source.validation_share ({source.validation_share}) and "
            f"source.test_share ({source.test_share}) leave nothing to train on; lower them",
        )
    if isinstance(source, DigitsSource):
        yield from _find_digits_contradictions(config, source)


def _find_digits_contradictions(config: RefreshConfig, source: DigitsSource) -> Iterator[Finding]:
    if not any(source.train.values()):
        yield Finding("error", "configuration: source.train has no samples; raise a task's number")
    num_validation = sum(source.validation.values())
    if num_validation < config.train.eval_prompts:
        yield Finding(
            "warning",
            f"configuration: train.eval_prompts ({config.train.eval_prompts}) is more than the "
            f"{num_validation} validation samples of the source; all of them will be used",
        )
    yield from _check_gates(config, {task for task in TASKS if source.validation.get(task)})


def _check_gates(config: RefreshConfig, validated: set[str]) -> Iterator[Finding]:
    """A gate on a task without validation samples can measure nothing."""
    promote = config.promote
    for section, gates in (("min_gain", promote.min_gain), ("max_loss", promote.max_loss)):
        for task in sorted(set(gates) - validated):
            yield Finding(
                "warning",
                f"configuration: promote.{section} names {task}, which has no validation samples",
            )


def _find_policy(config: RefreshConfig) -> tuple[Path | None, list[Finding]]:
    from perpo_core.policy.resolve import resolve_policy  # reads the store: only where needed

    try:
        return resolve_policy(config.policy, open_store(config.store)).folder, []
    except (OSError, ValueError) as error:
        return None, [Finding("error", f"policy: {explain(error)}")]


def _holds_samples(config: RefreshConfig, key: str) -> bool:
    return open_store(config.store).load("samples", key) is not None


def _slim_rows(source: JsonlSource) -> Iterator[SampleRow | SetAside]:
    """The check pass without image bytes, so that all rows can be held at once."""
    for row in jsonl.check_samples(source):
        yield row if isinstance(row, SetAside) else {**row, "images": []}


def _report_bad_rows(source: JsonlSource, bad: list[SetAside]) -> Iterator[Finding]:
    level: Level = "error" if source.on_bad_row == "fail" else "warning"
    for row in bad[:MAX_NAMED_ROWS]:
        yield Finding(level, f"source: {row.detail}")
    if len(bad) > MAX_NAMED_ROWS:
        counts = ", ".join(f"{n} x {what}" for what, n in Counter(r.reason for r in bad).items())
        yield Finding(level, f"source: {len(bad)} bad rows in all: {counts}")


def _report_splits(config: RefreshConfig, rows: list[SampleRow]) -> Iterator[Finding]:
    counts = Counter((row["task"], row["split"]) for row in rows)
    if not any(split == "train" for _, split in counts):
        yield Finding("error", "source: the train split is empty; give the source training rows")
    for task in sorted({task for task, _ in counts}):
        for split in SPLITS:
            if not counts[task, split]:
                yield Finding("warning", f"source: {task} has no {split} samples")
    yield from _check_gates(config, {task for task, split in counts if split == "validation"})


def _report_conflicts(rows: list[SampleRow]) -> Iterator[Finding]:
    """The same image and question with another truth: allowed, and nearly always a mistake."""
    first: dict[str, str] = {}
    conflicts = [
        (first[row["prompt_id"]], row["row"])
        for row in rows
        if first.setdefault(row["prompt_id"], row["row"]) != row["row"]
    ]
    if conflicts:
        yield Finding(
            "warning",
            f"source: {len(conflicts)} rows ask an earlier row's question with another truth, "
            f"first {conflicts[0][1]} after {conflicts[0][0]}",
        )


def _check_texts(config: RefreshConfig, folder: Path, rows: list[SampleRow]) -> Iterator[Finding]:
    """Prompts without the model's special tokens; true texts that an answer can hold."""
    special = load_special_tokens(folder)
    for row in rows:
        prompt = row["prompt"][0]["content"][-1]["text"]
        found = sorted(token for token in special if token in prompt)
        if found:
            yield Finding(
                "error",
                f"source: {row['row']}: the prompt contains {found[0]!r}, a special token of the "
                "policy; remove it",
            )
    tokenizer = load_tokenizer(folder)
    if tokenizer is not None:
        yield from _check_lengths(config, tokenizer, rows)


def _check_lengths(
    config: RefreshConfig, tokenizer: Tokenizer, rows: list[SampleRow]
) -> Iterator[Finding]:
    max_tokens, max_model_len = config.generate.max_tokens, config.policy.max_model_len
    texts = [row for row in rows if row["target"]["text"] is not None]
    lengths = [len(tokenizer.encode(row["target"]["text"]).ids) + 1 for row in texts]  # end token
    too_long = [length for length in lengths if length > max_tokens]
    if too_long:
        yield Finding(
            "warning",
            f"source: {len(too_long)} of {len(texts)} true texts are longer than "
            f"generate.max_tokens ({max_tokens}), the longest has {max(too_long)} tokens: answers "
            "cut off there never enter a list",
        )
    for row in rows:
        length = len(tokenizer.encode(row["prompt"][0]["content"][-1]["text"]).ids)
        if length + max_tokens > max_model_len:
            yield Finding(
                "error",
                f"source: {row['row']}: the prompt has {length} tokens and answers may have "
                f"{max_tokens}, more than policy.max_model_len ({max_model_len}) even without "
                "the image",
            )
