"""What a judge is tuned on: questions of the training split, and pairs of the answers to them.

The answers are the newest candidates in the store that there are to questions of the task.
Documents are drawn by a hash of seed and sample, one for each prompt, so that the same store and
seed give the same ones whatever order rows lie in; pairs are drawn alike, of those that scoring
would compare (perpo_core/stages/outside/order.py): replies to them may be in the store already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow.parquet as pq

from perpo_core.perception.judging import Item
from perpo_core.stages.outside.order import Pair, choose_pairs
from perpo_core.stages.samples import (
    SampleRows,
    ScorableSamples,
    build_item,
    list_sample_files,
    read_samples,
)
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_hash
from perpo_core.store.store import Store
from schemas.artifact import CandidateSet, SampleSet
from schemas.base import Digest, Split, TaskName
from schemas.judge_tuning import JudgeTuning

SPLIT: Split = "train"  # of the candidates
BLOCK_PROMPTS = 256  # looked into at a time
ADVICE = "run `perpo refresh` with this configuration first, which samples them"


@dataclass(frozen=True)
class Document:
    """A question and pairs of answers to it."""

    sample_id: str
    image_id: str
    items: Mapping[str, Item]
    """By the answer's text; those of the pairs."""
    pairs: Sequence[Pair]


@dataclass(frozen=True)
class Documents:
    """What chooses, and what only checks."""

    candidates_key: Digest
    tuning: list[Document]
    check: list[Document]

    @property
    def num_pairs(self) -> tuple[int, int]:
        """Of both."""
        return sum(len(d.pairs) for d in self.tuning), sum(len(d.pairs) for d in self.check)


def require_candidates(store: Store) -> None:
    """Raise ValueError where there are no answers at all; reads and makes nothing."""
    if not store.list_keys("candidates"):
        raise ValueError(f"{store.place} has no answers to compare; {ADVICE}")


def load_documents(
    context: StageContext, task: TaskName, settings: JudgeTuning, comparisons: int
) -> Documents:
    """Raises ValueError where the store has not two questions with different answers."""
    num_wanted = settings.documents + settings.check_documents
    most = 0
    for candidates in context.store.list_committed("candidates"):
        assert isinstance(candidates, CandidateSet)
        drawn = Drawing(context, candidates, task, settings, comparisons)
        found = list(islice(drawn, num_wanted))
        most = max(most, len(found))
        if len(found) >= 2:
            num_tuning = _share_out(len(found), settings)
            return Documents(candidates.key, found[:num_tuning], found[num_tuning:])
    what = "only one question" if most else "no question"
    raise ValueError(
        f"{context.store.place} has {what} of {task} with different answers to compare; {ADVICE}"
    )


def _share_out(num: int, settings: JudgeTuning) -> int:
    """How many of too few documents choose: both uses keep their proportion, and one at least."""
    num_wanted = settings.documents + settings.check_documents
    return min(max(num * settings.documents // num_wanted, 1), num - 1, settings.documents)


class Drawing:
    """Documents of one candidate set, in the order in which they are drawn."""

    def __init__(
        self,
        context: StageContext,
        candidates: CandidateSet,
        task: TaskName,
        settings: JudgeTuning,
        comparisons: int,
    ) -> None:
        self._context, self._candidates, self._task = context, candidates, task
        self._settings, self._comparisons = settings, comparisons

    def __iter__(self) -> Iterator[Document]:
        samples = self._find_parents()
        if samples is None:
            return
        scorable = ScorableSamples(self._context, samples, SPLIT)
        rows = SampleRows(list_sample_files(self._context.store, samples))
        drawn = iter(self._draw(samples).items())
        while block := dict(islice(drawn, BLOCK_PROMPTS)):
            texts = self._read_texts(list(block))
            built = scorable.build(prompt_id for prompt_id in block if prompt_id in texts)
            for prompt_id, found in built.items():
                [sample] = [each for each in found if each.sample_id == block[prompt_id]]
                pairs = self._draw_pairs(sample.sample_id, texts[prompt_id])
                names = dict.fromkeys(text for pair in pairs for text in pair)
                items = {text: build_item(sample, text, rows) for text in names}
                if pairs:
                    image_id = rows.read(sample.sample_id)["image_id"]
                    yield Document(sample.sample_id, image_id, items, pairs)

    def _find_parents(self) -> SampleSet | None:
        """The samples, where they and the answers are whole; what is damaged is said."""
        store, log = self._context.store, self._context.log
        if store.find(self._candidates.kind, self._candidates.key, log) is None:
            return None
        for parent in self._candidates.parents:
            samples = store.find(parent.kind, parent.key, log)
            if isinstance(samples, SampleSet) and samples.digest == parent.digest:
                return samples
        return None

    def _draw(self, samples: SampleSet) -> dict[str, str]:
        """prompt_id -> the sample drawn for it, in the order of the draw."""
        columns = ["sample_id", "prompt_id", "task"]
        table = read_samples(self._context.store, samples, columns, [SPLIT]).to_pylist()
        of_task = [row for row in table if row["task"] == self._task]
        of_task.sort(key=lambda row: compute_hash([self._settings.seed, row["sample_id"]]))
        drawn: dict[str, str] = {}
        for row in of_task:
            drawn.setdefault(row["prompt_id"], row["sample_id"])
        return drawn

    def _read_texts(self, prompt_ids: Sequence[str]) -> dict[str, list[str]]:
        """prompt_id -> the answers to it, of those that were answered."""
        texts: dict[str, list[str]] = {}
        wanted = [("prompt_id", "in", list(prompt_ids))]
        for path in self._context.store.paths(self._candidates):
            rows = pq.read_table(path, columns=["prompt_id", "text"], filters=wanted)
            for prompt_id, text in zip(*rows.to_pydict().values(), strict=True):
                texts.setdefault(prompt_id, []).append(text)
        return texts

    def _draw_pairs(self, sample_id: str, texts: Sequence[str]) -> list[Pair]:
        seed = self._settings.seed
        pairs = choose_pairs(texts, self._comparisons)
        pairs.sort(key=lambda pair: compute_hash([seed, sample_id, *pair]))
        return pairs[: self._settings.pairs]
