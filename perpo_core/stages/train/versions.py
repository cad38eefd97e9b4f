"""Degraded versions of answers in tokens: made once a list, by the seed, kept as an artifact.

The artifact has a part for each part of the lists (perpo_core.stages.train.version_sidecar); a
killed training finds the parts that are there. Which words are rare is counted over the best
answers of all lists, so that no part depends on the lists of its own alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from perpo_core.perception.degrading import Spread
from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.frames import build_framer
from perpo_core.perception.rewards import Reading
from perpo_core.perception.tasks import TASKS
from perpo_core.policy.banned import find_banned_ids
from perpo_core.process.child import emit
from perpo_core.stages.train.data import RankedLists
from perpo_core.stages.train.ranks import gather, get_rank, take_turns
from perpo_core.stages.train.version_sidecar import count_versions
from perpo_core.stages.train.version_tables import VersionTable, write_versions
from perpo_core.store.keys import compute_hash
from perpo_core.store.packs import Images
from perpo_core.store.row_reader import RowReader
from schemas.artifact import Counts
from schemas.base import TaskName
from schemas.run import TrainJob

COLUMNS = ["sample_id", "task", "images", "responses", "target"]
NOTHING_KNOWN = "nothing is known of degrees in its task"
NO_ANSWER = "no answer after the thoughts"
SPECIAL = "its words spell a special token"
KEPT_FRAMES = 1024  # images of a night have few sizes
Row = dict[str, Any]


@dataclass(frozen=True)
class Version:
    """One of an answer: `degree` 0 is the answer itself."""

    degree: int
    text: str
    token_ids: Sequence[int]
    """End token included."""


class VersionMaker:
    """Makes the versions of answers, by the configuration of a training."""

    def __init__(self, job: TrainJob, tokenizer: Any) -> None:
        policy, train = job.config.policy, job.config.train
        self.num_degrees, self._seed = train.degrees, train.seed
        self._box_format, self._score = policy.box_format, job.config.score
        build_frame = build_framer(policy.box_format, job.policy.folder, policy.pixel_limits)
        self._build_frame = lru_cache(KEPT_FRAMES)(build_frame)
        self._images = Images(job.samples.packs)
        self._lists, self._tokenizer = RowReader(job.lists, COLUMNS), tokenizer
        self._special_ids = {*find_banned_ids(tokenizer), *tokenizer.all_special_ids}

    def make_of_list(self, index: int) -> Row:
        """The row of schemas.arrow.DEGRADED of a list."""
        row = self._lists.read(index)
        best = row["responses"][0]
        versions, reason = self.make(row, best["text"])
        if versions and list(versions[0].token_ids) == best["token_ids"]:
            del versions[0]
        kept = [vars(version) for version in versions or ()]
        return {"sample_id": row["sample_id"], "versions": kept, "reason": reason}

    def make(self, row: Row, text: str) -> tuple[list[Version] | None, str | None]:
        """(all versions of an answer to a row's question, None), or (None, why there are none)."""
        degrader, answer = TASKS[row["task"]].degrader, find_answer(text)[0]
        if degrader is None or answer is None:
            return None, NOTHING_KNOWN if degrader is None else NO_ANSWER
        rng = random.Random(compute_hash([self._seed, row["sample_id"]]))
        spread = Spread(self.num_degrees, rng, self._num_answers_of.get(row["task"], {}))
        texts, reason = degrader.degrade(answer, self.read(row), spread)
        return self._encode(texts) if texts else (None, reason)

    def _encode(self, texts: Sequence[str]) -> tuple[list[Version] | None, str | None]:
        encoded = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        if any(self._special_ids & set(ids) for ids in encoded):
            return None, SPECIAL
        pairs = enumerate(zip(texts, encoded, strict=True))
        return [Version(k, text, [*ids, self._end_id]) for k, (text, ids) in pairs], None

    def read(self, row: Row) -> Reading:
        """How answers to a row are read: its frame is that of the image that is asked about."""
        image_hash = row["images"][row["target"].get("image") or 0]
        frame = self._build_frame(*self._images.measure(image_hash))
        score = self._score
        return Reading(frame, self._box_format, score.collapse_whitespace, score.count_reading)

    @cached_property
    def _end_id(self) -> int:
        """The token that the lists' answers end with; one that was cut off is in no list."""
        end: int = self._lists.read(0)["responses"][0]["token_ids"][-1]
        return end

    @cached_property
    def _num_answers_of(self) -> Mapping[TaskName, Mapping[str, int]]:
        rows = (self._lists.read(index) for index in range(len(self._lists)))
        return count_units((row["task"], row["responses"][0]["text"]) for row in rows)


def count_units(answers: Iterable[tuple[TaskName, str]]) -> Mapping[TaskName, Counter[str]]:
    """Task -> unit (a word, a value) -> the answers that hold it; `answers` are (task, text)."""
    counts: dict[TaskName, Counter[str]] = {}
    for task, text in answers:
        degrader, answer = TASKS[task].degrader, find_answer(text)[0]
        if degrader and answer is not None:
            counts.setdefault(task, Counter()).update(set(degrader.list_units(answer)))
    return counts


def attach_versions(lists: RankedLists, maker: VersionMaker, job: TrainJob) -> Counts:
    """Give the lists their versions, made where they are not there; how many lists have some."""
    assert job.degraded is not None
    paths = job.degraded.parts
    # The first process looks: between the looks of two a part may come to be.
    there = gather([path.is_file() for path in paths] if get_rank() == 0 else [])[0]
    missing = [number for number, found in enumerate(there) if not found]
    mine = take_turns(missing)
    for done, number in enumerate(mine, start=1):
        write_versions(paths[number], list(_make_part(maker, lists.spans[number])))
        emit("progress", done=done, total=len(mine), unit="parts of degraded answers")
    gather(None)  # all are there before any is read
    lists.versions = VersionTable(paths, map(lists.read_id, range(len(lists))))
    counts = count_versions(paths)
    emit("log", message=f"the best answers of {counts.num_kept} of {counts.num_in} lists have "
         f"degraded versions{_say_dropped(counts)}")  # fmt: skip
    if get_rank() == 0 and not job.degraded.is_kept:
        emit("degraded")
    return counts


def _make_part(maker: VersionMaker, numbers: Iterable[int]) -> Iterator[Row]:
    return (maker.make_of_list(number) for number in numbers)


def _say_dropped(counts: Counts) -> str:
    reasons = [f"{number} {reason}" for reason, number in counts.dropped.items()]
    return f"; others have none: {', '.join(reasons)}" if reasons else ""
