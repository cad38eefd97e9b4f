"""`perpo export-lists`: from a run in a store to a folder that another trainer loads.

Lists and images are read a few at a time and rows written one after another, so that memory does
not grow with them. Lists that a format cannot say, and pairs that are none, are counted by their
reasons. Left out: splits other than train, since lists are made of nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from perpo_core.export.facts import RunFacts
from perpo_core.export.folder import appearing
from perpo_core.export.lists.card import build_card
from perpo_core.export.lists.files import Write
from perpo_core.export.lists.format import CannotSay, Format
from perpo_core.export.lists.formats import load_format
from perpo_core.export.lists.pairs import SMALL_GAP, choose_pairs, is_small
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, find_reward_range, iterate_lists
from perpo_core.export.lists.sources import count_licences
from perpo_core.export.lists.tally import NO_PAIR, Tally, build_tally
from perpo_core.export.origin import find_origin
from perpo_core.process.troubles import explaining_full_disk
from perpo_core.report.load import load_artifacts
from perpo_core.store.atomic import sync_tree
from perpo_core.store.packs import PREFIX, Images
from perpo_core.store.store import Store
from schemas.base import StageName
from schemas.exports import ListFormatName, PairsName
from schemas.run import RunRecord

CARD = "README.md"


@dataclass(frozen=True)
class Asked:
    """What is to be written."""

    format_name: ListFormatName = "hf"
    pairs: PairsName | None = None
    """None: the first that the format has."""
    min_gap: float = 0.0
    """Least gap of rewards of a pair, or of a list where whole lists are rows."""


def export_lists(
    store: Store,
    run: RunRecord,
    records: Sequence[RunRecord],
    folder: Path,
    asked: Asked,
    log: Callable[[str], None],
) -> Tally:
    """Write the lists of a run, with a card; what was written and what was not.

    `records` are all runs of the store, for the name of the policy that answered. Raises
    ValueError, one sentence, where there is nothing to write, no place for it, or a choice of pairs
    that the format has not.
    """
    target = Path(os.path.realpath(folder.expanduser()))
    form = load_format(asked.format_name)
    pairs = find_choice(asked, form)
    artifacts = load_artifacts(store, run)
    samples, preferences = artifacts.samples, artifacts.preferences
    if samples is None or preferences is None:
        stage: StageName = "collect" if samples is None else "materialize"
        raise ValueError(f"{run.run_id} has no lists to export: {artifacts.missing[stage]}")
    parts = store.paths(preferences)
    tally = build_tally(*find_reward_range(parts))
    size = sum(file.num_bytes for each in (samples, preferences) for file in each.files)
    with appearing(target, size) as temporary, explaining_full_disk(target):
        pictures = Pictures(Images(store.paths(samples, PREFIX)), temporary)
        with form.files.open(temporary) as write:
            for ranked in iterate_lists(parts):
                _write_list(ranked, form, (pairs, asked.min_gap), pictures, write, tally)
        _require_rows(tally, asked)
        licences = count_licences(store.paths(samples), tally)
        facts = RunFacts(run, artifacts, find_origin(store, run, records))
        card = build_card(facts, form, asked.format_name, pairs, asked.min_gap, tally, licences)
        for name, text in {CARD: card, **form.beside}.items():
            (temporary / name).write_text(text, encoding="utf-8")
        sync_tree(temporary)
    for sentence in describe(tally, form):
        log(sentence)
    return tally


def find_choice(asked: Asked, form: Format) -> PairsName:
    """What becomes a row; raises ValueError where the format has no such thing."""
    if asked.pairs is not None and asked.pairs not in form.choices:
        raise ValueError(
            f"--format {asked.format_name} has no --pairs {asked.pairs}; it takes "
            f"{' or '.join(form.choices)}, or another format (docs/export.md)"
        )
    return asked.pairs or form.choices[0]


def describe(tally: Tally, form: Format) -> list[str]:
    """Sentences on what is not there, and what to know of what is."""
    sentences = [form.warning] if form.warning else []
    for what, counts in (("lists", tally.lists), ("pairs", tally.pairs)):
        if counts.dropped:
            reasons = ", ".join(f"{reason} {num:,}" for reason, num in counts.dropped.items())
            sentences.append(
                f"{counts.num_in - counts.num_kept:,} of {counts.num_in:,} {what} were left out: "
                f"{reasons}"
            )
    return sentences


def _write_list(
    ranked: Ranked,
    form: Format,
    choice: tuple[PairsName, float],
    pictures: Pictures,
    write: Write,
    tally: Tally,
) -> None:
    name, min_gap = choice
    pairs, dropped = choose_pairs(ranked.answers, name, min_gap)
    tally.num_pairs += len(pairs) + dropped.total()
    tally.dropped_pairs.update(dropped)
    if name == "list" and is_small(ranked.gap, min_gap):
        return tally.drop(SMALL_GAP, 0)
    if name != "list" and not pairs:
        return tally.drop(NO_PAIR, 0)
    try:
        rows = list(form.build_rows(ranked, pairs, pictures))
    except CannotSay as reason:
        return tally.drop(f"{reason}, which the format cannot say", len(pairs))
    for row in rows:
        write(row)
    tally.keep(ranked, pairs, len(rows))


def _require_rows(tally: Tally, asked: Asked) -> None:
    if tally.num_rows:
        return
    reasons = ", ".join(f"{reason} {num:,}" for reason, num in tally.dropped_lists.most_common())
    raise ValueError(
        f"none of the {tally.num_lists:,} lists can be written as {asked.format_name} ({reasons}); "
        "choose another --format or --pairs, or a lower --min-gap"
    )
