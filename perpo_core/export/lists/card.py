"""The card of exported lists: how many, what they are worth, whose, how they came about."""

from __future__ import annotations

from collections import Counter

import numpy as np
from huggingface_hub import DatasetCardData

from perpo_core.export.facts import RunFacts
from perpo_core.export.lists.format import Format
from perpo_core.export.lists.tally import Tally
from perpo_core.export.provenance import (
    COUNT_HEADER,
    SETTING_HEADER,
    build_count_cells,
    build_counts_table,
    build_digests,
    list_settings,
)
from perpo_core.report.markdown import build_table, escape
from perpo_core.report.summary import TASK_LABELS
from schemas.exports import ListFormatName, PairsName

SECTIONS = ("source", "policy", "generate", "score", "lists")
"""Of the configuration: what lists depend on."""
TAGS = ["perpo", "preference", "dpo", "ranking", "vision-language-model"]
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
LARGE = "1M<n<10M"
WORDS: dict[PairsName, str] = {
    "best-worst": "the best answer of a list with the worst",
    "best-rest": "the best answer of a list with every worse one",
    "adjacent": "each answer of a list with the next worse one",
    "all": "each answer of a list with every worse one",
    "list": "a whole list, the best answer first",
}


def build_card(
    facts: RunFacts,
    form: Format,
    name: ListFormatName,
    pairs: PairsName,
    min_gap: float,
    tally: Tally,
    licences: Counter[tuple[str, str]],
) -> str:
    """The whole README.md."""
    sections = {
        "What is here": _describe_rows(form, pairs, min_gap, tally),
        "Rewards": _build_histogram(tally),
        "How to load it": _describe_loading(form),
        "How it was made": _describe_making(facts),
        "Licences": _build_licences(licences),
        "Versions and digests": build_digests(facts, _collect_digests(facts)),
    }
    title = f"# Ranked answers of {escape(facts.origin.name)}, as {name}"
    body = [f"## {heading}\n\n{text}" for heading, text in sections.items()]
    return "\n\n".join([_build_front_matter(form, tally), title, *body]) + "\n"


def _build_front_matter(form: Format, tally: Tally) -> str:
    data = DatasetCardData(
        task_categories=["image-text-to-text"],
        tags=[*TAGS, *tally.lists_of],
        size_categories=[
            next((size for limit, size in SIZES.items() if tally.num_rows < limit), LARGE)
        ],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": form.files.pattern}],
            }
        ],
    )
    return f"---\n{data.to_yaml()}\n---"


def _describe_rows(form: Format, pairs: PairsName, min_gap: float, tally: Tally) -> str:
    least = f", {min_gap:g} or more apart in reward" if min_gap else ""
    by_task = ", ".join(f"{_label(task)} {num:,}" for task, num in tally.lists_of.items())
    counts = [("lists", tally.lists), *([] if pairs == "list" else [("pairs", tally.pairs)])]
    rows = [
        build_count_cells(what, each.num_in, each.num_kept, each.dropped.items())
        for what, each in counts
    ]
    return "\n\n".join(
        [
            f"{tally.num_rows:,} rows in `{form.files.pattern}`, made of {WORDS[pairs]}{least}, "
            f"from {tally.lists_of.total():,} ranked lists ({by_task}) of the training split.",
            build_table(COUNT_HEADER, rows),
        ]
    )


def _build_histogram(tally: Tally) -> str:
    """A row a bin, a column for each task and kind of answer."""
    columns = sorted(tally.histograms)
    header = ("reward", *(f"{_label(task)}, {which}" for task, which in columns))
    ranges = [f"{low:.2f} to {high:.2f}" for low, high in tally.bins]
    counts = np.stack([tally.histograms[column] for column in columns], axis=1)
    rows = [
        [where, *(f"{num:,}" for num in row)]
        for where, row in zip(ranges, counts.tolist(), strict=True)
    ]
    return (
        "Answers by reward; one that is in several pairs of a list counts once. A bin holds its "
        f"lower edge, the last one its upper too.\n\n{build_table(header, rows)}"
    )


def _describe_loading(form: Format) -> str:
    images = f"In a prompt an image is {form.placeholders}."
    return f"{form.loads}\n\n{images} Not in the rows: {form.lost}."


def _describe_making(facts: RunFacts) -> str:
    generate, origin = facts.config.generate, facts.origin
    earlier = ", ".join(f"`{run_id}`" for run_id in origin.earlier_runs)
    after = f" after the runs {earlier}" if earlier else ""
    return "\n\n".join(
        [
            f"The run `{facts.run.run_id}` asked {escape(origin.name)}{after} every training "
            f"question {generate.num_candidates} times at temperature {generate.temperature:g}. "
            "Rewards computed from the ground truth ranked the answers; the true answer is in no "
            "list unless the model gave it.",
            build_counts_table(facts),
            build_table(SETTING_HEADER, list_settings(facts, SECTIONS)),
        ]
    )


def _build_licences(licences: Counter[tuple[str, str]]) -> str:
    rows = (
        [escape(licence), escape(source), f"{num:,}"] for (licence, source), num in licences.items()
    )
    return (
        f"{build_table(('licence', 'source', 'lists'), rows)}\n\nAs the data state them; the "
        "answers are the model's. Whoever publishes this fills in `license` at the top."
    )


def _collect_digests(facts: RunFacts) -> dict[str, str]:
    artifacts = facts.artifacts
    digests = {
        "preferences": artifacts.preferences,
        "scores": artifacts.scores,
        "candidates": artifacts.candidates,
        "samples": artifacts.samples,
    }
    found = {name: each.digest for name, each in digests.items() if each is not None}
    if artifacts.candidates is None:
        return found
    counts = artifacts.candidates.prompts_per_policy or {
        artifacts.candidates.policy_digest: artifacts.candidates.counts.num_kept
    }
    policies = {f"policy of {num:,} prompts' answers": digest for digest, num in counts.items()}
    return {**policies, **found}


def _label(task: str) -> str:
    return TASK_LABELS.get(task, task)
