"""Everything that is known of one sample: its truth, every answer, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from perpo_core.view.dropped import DroppedTab
from perpo_core.view.files import Absent
from perpo_core.view.lists import ListsTab, get_details, name_role
from perpo_core.view.predictions import PredictionsTab
from perpo_core.view.query import TabName
from perpo_core.view.run_view import RunView
from perpo_core.view.samples import SampleCard, SamplesTab
from perpo_core.view.showing import Tile


@dataclass(frozen=True)
class SamplePage:
    """One sample."""

    card: SampleCard
    answers: list[Tile]
    """Sampled to learn from: those of its list by rank, then those in none."""
    became: str
    """Why it gave no list; "" where it gave one, or is not learned from."""
    held_out: list[Tile]
    """Of both policies."""
    notes: list[str]


@dataclass(frozen=True)
class _Fate:
    """What became of a sample's answers."""

    part: str | None = None
    ranks: Mapping[int, int] | None = None
    whole: str = ""
    reasons: Mapping[int, str] | None = None


def build_sample_page(view: RunView, sample_id: str) -> SamplePage:
    """Raises Absent for a sample that the run does not have."""
    samples = cast(SamplesTab, view.get_tab("samples"))
    row = samples.find_row(sample_id)
    if row is None:
        raise Absent(f"There is no sample {sample_id[:64]} in this run.")
    notes: list[str] = list(view.answers.notes)
    fate = _find_fate(view, sample_id, notes)
    predictions = _try(view, "predictions", notes)
    held_out = predictions.build_tiles(row) if isinstance(predictions, PredictionsTab) else []
    return SamplePage(
        samples.build_card(row), _build_answers(view, row, fate), fate.whole, held_out, notes
    )


def _try(view: RunView, name: TabName, notes: list[str]) -> object:
    try:
        return view.get_tab(name)
    except Absent as absent:
        notes.append(str(absent))
        return None


def _find_fate(view: RunView, sample_id: str, notes: list[str]) -> _Fate:
    part, ranks = None, dict[int, int]()
    lists, dropped = _try(view, "lists", notes), _try(view, "dropped", notes)
    if isinstance(lists, ListsTab):
        part, ranks = lists.find_ranks(sample_id)
    if not isinstance(dropped, DroppedTab):
        return _Fate(part, ranks)
    told_by, whole, reasons = dropped.find(sample_id)
    return _Fate(part or told_by, ranks, whole, reasons)


def _build_answers(view: RunView, row: Mapping[str, Any], fate: _Fate) -> list[Tile]:
    if fate.part is None:
        return []
    texts = view.answers.read_texts(fate.part, [row["prompt_id"]])
    scores = view.answers.read_scores(fate.part, [row["sample_id"]])
    ranks, reasons = fate.ranks or {}, fate.reasons or {}
    last, last_rank = len(ranks), max(ranks.values(), default=0)
    ordered = sorted(texts.items(), key=lambda each: (ranks.get(each[0][1], last), each[0][1]))
    tiles = []
    for (_, index), text in ordered:
        score, rank = scores.get((row["sample_id"], index)), ranks.get(index)
        tiles.append(
            view.showing.build_tile(
                row, text, "out" if rank is None else name_role(rank, last_rank),
                "" if rank is None else str(rank + 1), score["reward"] if score else None,
                *get_details(score), note=reasons.get(index, "") if rank is None else "",
            )
        )  # fmt: skip
    return tiles
