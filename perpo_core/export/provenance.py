"""A card's tables of data, settings, versions and digests, from the run's record and artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from perpo_core.export.facts import CardFacts, RunFacts
from perpo_core.perception.tasks import TASKS
from perpo_core.report.formats import format_number
from perpo_core.report.markdown import build_table, escape
from perpo_core.report.summary import TASK_LABELS, merge_versions
from perpo_core.report.tables import Setting, build_count_rows, build_settings
from schemas.base import SPLITS, StageName
from schemas.config import RefreshConfig

# Section -> settings that every card names, none of them a path. Of [train], what differs from its
# default comes too.
NAMED_SETTINGS = {
    "source": ("kind", "max_image_side"),
    "policy": ("box_format", "dtype", "max_model_len", "max_pixels", "min_pixels"),
    "generate": ("num_candidates", "temperature", "top_p", "engine"),
    "score": tuple(TASKS),
    "lists": ("min_gap", "list_size", "drop_duplicates"),
    "train": (
        "objective", "beta", "gamma", "adapter", "learning_rate", "projector_learning_rate",
        "vision_learning_rate", "schedule", "warmup_share", "weight_decay", "epochs", "batch_lists",
        "seed",
    ),
}  # fmt: skip
LORA_SETTINGS = ("lora_rank", "lora_alpha")
OF_THE_MACHINE = ("threads", "progress_timeout_s")
USES = (
    "Lists come from train, selection chose the checkpoint, validation judged it at the gates, and "
    "test gave the results above; no image is in two of them."
)
SETTING_HEADER = ("setting", "value")
COUNT_HEADER = ("", "in", "kept", "dropped, by reason")
COUNTED: dict[StageName, str] = {
    "collect": "samples", "generate": "prompts answered", "score": "answers",
    "materialize": "training samples with a list",
}  # fmt: skip


def build_data(facts: CardFacts) -> str:
    """Samples by task and split, and what became of them, with every reason."""
    parts = []
    samples, candidates = facts.artifacts.samples, facts.artifacts.candidates
    lists = facts.artifacts.preferences
    if samples:
        rows = (
            [TASK_LABELS[task], *(f"{samples.per_split.get(f'{task}/{s}', 0):,}" for s in SPLITS)]
            for task in facts.tasks
        )
        parts.append(build_table(("samples", *SPLITS), rows))
        parts.append(USES)
    if counts := build_counts_table(facts):
        parts.append(counts)
    if candidates and lists:
        by_task = ", ".join(f"{TASK_LABELS[t]} {n:,}" for t, n in lists.num_lists.items())
        parts.append(
            f"{candidates.counts.num_kept:,} prompts with {candidates.num_candidates:,} answers in "
            f"all ({candidates.num_tokens:,} tokens) gave {sum(lists.num_lists.values()):,} ranked "
            f"lists ({by_task}) of {lists.mean_list_size:.1f} different answers on average."
        )
    return "\n\n".join(parts)


def build_counts_table(facts: RunFacts) -> str:
    """Of the stages up to the lists: rows in, kept and dropped, with every reason; "" for none."""
    rows = [
        build_count_cells(COUNTED[row.stage], row.num_in, row.num_kept, row.dropped)
        for row in build_count_rows(facts.artifacts)
        if row.stage in COUNTED
    ]
    return build_table(COUNT_HEADER, rows) if rows else ""


def build_count_cells(
    what: str, num_in: int, num_kept: int, dropped: Iterable[tuple[str, int]]
) -> list[str]:
    """A row under COUNT_HEADER."""
    reasons = ", ".join(f"{escape(reason)} {count:,}" for reason, count in dropped)
    return [what, f"{num_in:,}", f"{num_kept:,}", reasons or "none"]


def build_settings_table(facts: CardFacts) -> str:
    """What was trained and how, and which step was chosen."""
    rows = list_settings(facts, NAMED_SETTINGS)
    return build_table(SETTING_HEADER, [*rows, *_describe_outcome(facts)])


def list_settings(facts: RunFacts, sections: Iterable[str]) -> list[list[str]]:
    """Rows under SETTING_HEADER: what a card names of these sections."""
    settings = build_settings(_strip_paths(facts.config))
    return [
        [f"`{section}.{setting.name}`", escape(setting.value)]
        for section in sections
        for setting in settings[section]
        if _is_named(section, NAMED_SETTINGS[section], setting, facts)
    ]


def _strip_paths(config: RefreshConfig) -> RefreshConfig:
    """Without folders of this machine: of further references, the last component stays."""
    names = [Path(name).name for name in config.train.extra_references]
    return config.model_copy(
        update={"train": config.train.model_copy(update={"extra_references": names})}
    )


def _is_named(section: str, names: tuple[str, ...], setting: Setting, facts: RunFacts) -> bool:
    first, last = setting.name.partition(".")[0], setting.name.rpartition(".")[2]
    if last in TASKS and last not in facts.tasks:
        return False
    if first in LORA_SETTINGS:
        return facts.config.train.adapter == "lora"
    is_changed = section == "train" and setting.is_changed and first not in OF_THE_MACHINE
    return first in names or is_changed


def _describe_outcome(facts: CardFacts) -> Iterator[list[str]]:
    checkpoint = facts.checkpoint
    num_steps = checkpoint.history[-1].step if checkpoint.history else 0
    yield ["steps trained", f"{num_steps:,}"]
    kept = " (the start)" if facts.is_start_kept else ""
    yield ["step chosen", f"{checkpoint.chosen_step:,}{kept}"]
    rewards = {point.step: point.mean_reward for point in checkpoint.readings}
    for step in sorted({0, checkpoint.chosen_step} & rewards.keys()):
        yield [f"{checkpoint.chosen_on} reward at step {step:,}", format_number(rewards[step])]


def build_versions(facts: CardFacts) -> str:
    """Packages of all stages, devices, and the sha256 digests that the store knows them by."""
    artifacts = facts.artifacts
    digests = {
        "this policy (its model folder in the store)": facts.checkpoint.policy_digest,
        "base, the policy it started from": facts.checkpoint.base_policy_digest,
        **({"preferences": artifacts.preferences.digest} if artifacts.preferences else {}),
    }
    return build_digests(facts, digests)


def build_digests(facts: RunFacts, digests: dict[str, str]) -> str:
    """Tables of these, of where it comes from, and of what computed it."""
    versions = [[escape(k), escape(v)] for k, v in merge_versions(facts.artifacts).items()]
    devices = {a.producer.device: None for a in facts.artifacts.by_stage.values()}
    rows = [[name, f"`{digest}`"] for name, digest in digests.items()]
    if facts.origin.revision:
        rows.append(["base, commit on the Hub", f"`{facts.origin.revision}`"])
    rows.append(["run", f"`{facts.run.run_id}`"])
    return "\n\n".join(
        [
            build_table(("what", "sha256 or name"), rows),
            build_table(
                ("package", "version"), [*versions, ["devices", escape(", ".join(devices))]]
            ),
        ]
    )
