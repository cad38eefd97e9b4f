"""What else was said of the answers of lists: every reward of theirs by name, from their scores.

Lists hold the total alone. The scores that they were made from hold its parts, in parts of the same
names, and lists name them among their parents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from perpo_core.store.row_reader import read_columns
from perpo_core.store.store import Store
from schemas.artifact import Parent, PreferenceSet

LIST_COLUMNS = [
    "sample_id", "task", "responses.list.element.candidate_hash",
    "responses.list.element.reward",
]  # fmt: skip
SCORE_COLUMNS = ["sample_id", "candidate_hash", "rewards"]


@dataclass(frozen=True)
class ScoredList:
    """A list's answers, best first."""

    sample_id: str
    task: str
    totals_G: Sequence[float]
    rewards_G: Sequence[dict[str, float]]
    """Reward of the task -> its value, unweighed."""


def find_scores(preferences: PreferenceSet) -> Parent:
    """The scores that lists were made from; raises ValueError where they name none."""
    for parent in preferences.parents:
        if parent.kind == "scores":
            return parent
    raise ValueError(
        f"the lists {preferences.key[:12]} do not say which scores they were made from; run again "
        "from materialize"
    )


def locate_scores(
    store: Store, preferences: PreferenceSet, log: Callable[[str], None]
) -> list[Path]:
    """Of each part of the lists, its scores; raises ValueError where they are gone or others."""
    parent = find_scores(preferences)
    scores = store.find(parent.kind, parent.key, log)
    if scores is None or scores.digest != parent.digest:
        raise ValueError(
            f"the scores {parent.key[:12]}, from which the lists {preferences.key[:12]} were made, "
            "are gone or were made anew; run again from score"
        )
    paths = {file.path: store.locate_file(scores, file) for file in scores.files}
    return [paths[file.path] for file in preferences.files if file.path.startswith("part-")]


def read_scored_lists(lists: Sequence[Path], scores: Sequence[Path]) -> Iterator[ScoredList]:
    """Every list of all parts, in order; `scores` holds those of each."""
    for part, scored in zip(lists, scores, strict=True):
        rewards_of = {
            (row["sample_id"], row["candidate_hash"]): dict(row["rewards"])
            for row in read_columns(scored, SCORE_COLUMNS).to_pylist()
        }
        for row in read_columns(part, LIST_COLUMNS).to_pylist():
            sample_id, answers = row["sample_id"], row["responses"]
            yield ScoredList(
                sample_id,
                row["task"],
                [answer["reward"] for answer in answers],
                [rewards_of[sample_id, answer["candidate_hash"]] for answer in answers],
            )
