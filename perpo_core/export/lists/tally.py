"""What an export holds, counted while its rows go by: lists, pairs, rewards, and why some are not.

Of the lists only eight bytes each are kept, by which their samples' licences are found.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.ranked import Ranked, Row
from schemas.artifact import Counts

NUM_BINS = 10
NO_PAIR = "no pair left"
SHORT_ID_DIGITS = 16  # hexadecimal, of 64: what is left tells a thousand million lists apart


@dataclass
class Tally:
    """Counts of one export."""

    edges: np.ndarray
    """[NUM_BINS + 1] of the rewards' histograms, ascending."""
    num_rows: int = 0
    num_lists: int = 0
    """Kept or not."""
    lists_of: Counter[str] = field(default_factory=Counter)
    """Task -> kept."""
    dropped_lists: Counter[str] = field(default_factory=Counter)
    num_pairs: int = 0
    """Considered, of all lists."""
    dropped_pairs: Counter[str] = field(default_factory=Counter)
    histograms: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    """(task, which answers) -> [NUM_BINS] of their rewards."""
    short_ids: array[int] = field(default_factory=lambda: array("Q"))
    """Of the samples whose lists are kept."""

    @property
    def lists(self) -> Counts:
        dropped = dict(self.dropped_lists.most_common())
        return Counts(num_in=self.num_lists, num_kept=self.lists_of.total(), dropped=dropped)

    @property
    def pairs(self) -> Counts:
        """All zero where whole lists are rows."""
        kept = self.num_pairs - self.dropped_pairs.total()
        dropped = dict(self.dropped_pairs.most_common())
        return Counts(num_in=self.num_pairs, num_kept=kept, dropped=dropped)

    def drop(self, reason: str, num_pairs: int) -> None:
        """A list that is not in the export, with what pairs it still had."""
        self.num_lists += 1
        self.dropped_lists[reason] += 1
        if num_pairs:
            self.dropped_pairs[reason] += num_pairs

    def keep(self, ranked: Ranked, pairs: Sequence[Pair], num_rows: int) -> None:
        """A list that is."""
        self.num_lists += 1
        self.num_rows += num_rows
        self.lists_of[ranked.task] += 1
        self.short_ids.append(shorten(ranked.sample_id))
        if not pairs:
            return self._count(ranked.task, "answers", ranked.answers)
        self._count(ranked.task, "preferred", [pair.better for pair in pairs])
        self._count(ranked.task, "rejected", [pair.worse for pair in pairs])

    def _count(self, task: str, which: str, answers: Sequence[Row]) -> None:
        """Each answer once, in however many pairs it is."""
        rewards = list({answer["index"]: answer["reward"] for answer in answers}.values())
        counts, _ = np.histogram(rewards, bins=self.edges)
        found = self.histograms.setdefault((task, which), np.zeros(NUM_BINS, dtype=np.int64))
        found += counts

    @property
    def bins(self) -> list[tuple[float, float]]:
        """Lower and upper edge of each bin."""
        return list(pairwise(self.edges.tolist()))


def build_tally(low: float, high: float) -> Tally:
    """An empty one for rewards from `low` to `high`."""
    return Tally(edges=np.linspace(low, high, NUM_BINS + 1))


def shorten(sample_id: str) -> int:
    """Eight bytes of a sha256."""
    return int(sample_id[:SHORT_ID_DIGITS], 16)
