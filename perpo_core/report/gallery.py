"""Two galleries: ranked lists the policy learned from, and test prompts before and after.

What is shown is a random draw, never a choice of the prettiest: the first in order of sample_id,
which is a hash, the tasks taking turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perpo_core.perception.tasks import TASKS
from perpo_core.report.cards import Album, Card, build_change_card, build_list_card
from perpo_core.report.changes import Pair, read_pairs
from perpo_core.store.row_reader import RowReader

LIST_COLUMNS = ("sample_id", "task", "images", "prompt", "responses", "reward_gap", "target")
SAMPLE_COLUMNS = ("sample_id", "task", "images", "prompt", "target")
Position = tuple[str, str, int]  # task, sample_id, row in the file


def choose_in_turns(rows: Sequence[Position], size: int) -> list[Position]:
    """`size` rows: the tasks take turns, each in order of sample_id; grouped by task."""
    queues = {task: sorted(row for row in rows if row[0] == task) for task in TASKS}
    taken = dict.fromkeys(TASKS, 0)
    while sum(taken.values()) < min(size, sum(map(len, queues.values()))):
        for task in TASKS:
            if taken[task] < len(queues[task]) and sum(taken.values()) < size:
                taken[task] += 1
    return [row for task in TASKS for row in queues[task][: taken[task]]]


def load_list_cards(parts: Sequence[Path], size: int, album: Album) -> list[Card]:
    """Ranked lists with their images, answers and rewards."""
    rows = RowReader(parts, LIST_COLUMNS)
    chosen = [position for _, _, position in choose_in_turns(_list_positions(rows), size)]
    return [build_list_card(row, album) for row in rows.read_many(chosen)]


def _list_positions(rows: RowReader) -> list[Position]:
    columns = zip(rows.iterate_column("task"), rows.iterate_column("sample_id"), strict=True)
    return [(task, sample_id, number) for number, (task, sample_id) in enumerate(columns)]


def load_change_cards(
    predictions: Path, pairs: dict[str, Pair], parts: Sequence[Path], size: int, album: Album
) -> list[Card]:
    """Test prompts whose greedy answer changed."""
    reader = RowReader(parts, SAMPLE_COLUMNS)
    changed = {sample_id for sample_id, pair in pairs.items() if pair.is_changed}
    positions = [each for each in _list_positions(reader) if each[1] in changed]
    chosen = [position for _, _, position in choose_in_turns(positions, size)]
    rows = reader.read_many(chosen)
    answers = read_pairs(predictions, [pairs[row["sample_id"]] for row in rows])
    return [
        build_change_card(row, base, trained, album)
        for row, (base, trained) in zip(rows, answers, strict=True)
    ]
