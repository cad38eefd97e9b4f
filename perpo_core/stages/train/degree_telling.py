"""How well degrees are told on answers that nobody trained on, once, when the training has ended.

On the validation split, which chose nothing: of each prompt the truth, written as the policy would,
and its degraded versions, told by the chosen checkpoint's policy and the head that was trained with
it. Where the start is kept for want of a better one, it is the best checkpoint after it.

Left out: prompts beyond train.eval_prompts, shared out over the tasks, and an interval: versions of
one answer hang together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch

from perpo_core.perception.tasks import TASKS
from perpo_core.policy.encoding import encode_or_refuse
from perpo_core.policy.prompts import read_prompt
from perpo_core.policy.refusals import Refusal
from perpo_core.process.child import emit
from perpo_core.stages.train.data import RankedList, RankedLists, collate_lists
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.objectives.combine import find_needs
from perpo_core.stages.train.packing import Branch, PackableList
from perpo_core.stages.train.ranks import gather, take_turns
from perpo_core.stages.train.selection import pick_rows
from perpo_core.stages.train.trainer import ListTrainer
from perpo_core.stages.train.versions import Row, VersionMaker, attach_versions
from perpo_core.store.packs import Images
from schemas.artifact import Counts, DegreeReading
from schemas.base import JUDGING_SPLIT
from schemas.run import TrainJob


def attach_degrees(lists: RankedLists, processor: Any, job: TrainJob) -> DegreeTelling | None:
    """Give the lists degraded versions of their best answers, where the loss asks for degrees; who
    measures in the end how well these are told."""
    if "degrees" not in find_needs(job.config.train):
        return None
    maker = VersionMaker(job, processor.tokenizer)
    return DegreeTelling(job, maker, attach_versions(lists, maker, job), processor)


class DegreeTelling:
    """Asks a policy with a head for the degrees of validation answers, each process its share."""

    def __init__(self, job: TrainJob, maker: VersionMaker, lists: Counts, processor: Any) -> None:
        """`lists` are those that are trained on."""
        self._job, self._maker, self._lists, self._processor = job, maker, lists, processor
        self._images = Images(job.samples.packs)
        self._reasons: Counter[str] = Counter()

    def measure(self, trainer: ListTrainer) -> DegreeReading:
        """Of the weights that a training ended with; all processes call it."""
        train = self._job.config.train
        self._reasons.clear()
        rows = pick_rows(self._job.samples.parts, train.eval_prompts, JUDGING_SPLIT)
        # Sharded weights are gathered by all processes at once: then all ask the same.
        is_shared = train.sharding == "none"
        confusion_DD = self._ask(trainer.list_policy, take_turns(rows) if is_shared else rows)
        shares = gather((confusion_DD, self._reasons))
        shares = shares if is_shared else shares[:1]
        dropped = sum((reasons for _, reasons in shares), Counter[str]())
        prompts = Counts(
            num_in=len(rows), num_kept=len(rows) - dropped.total(), dropped=dict(dropped)
        )
        reading = DegreeReading(
            step=trainer.state.best_global_step or trainer.state.global_step,
            confusion=torch.stack([share_DD for share_DD, _ in shares]).sum(0).tolist(),
            prompts=prompts,
            lists=self._lists,
        )
        emit("log", message=describe(reading))
        return reading

    @torch.no_grad()
    def _ask(self, model: ListPolicy, rows: Any) -> torch.Tensor:
        """[D, D] versions of these prompts by (degree, degree that was told)."""
        num_degrees, pad_id = self._maker.num_degrees, self._processor.tokenizer.pad_token_id
        confusion_DD = torch.zeros(num_degrees, num_degrees, dtype=torch.long)
        was_training = model.training
        model.eval()
        for ranked in self._iterate(rows):
            batch = collate_lists([ranked], pad_id)
            logits_1VD = model(batch.to(model.device))[2]
            assert logits_1VD is not None and batch.packed.degrees_BV is not None
            for degree, told in zip(
                batch.packed.degrees_BV[0].tolist(), logits_1VD[0].argmax(-1).tolist(), strict=True
            ):
                confusion_DD[degree, told] += 1
        model.train(was_training)
        return confusion_DD

    def _iterate(self, rows: Any) -> Iterator[RankedList]:
        """The prompts with their answers' versions; why others have none is counted."""
        for row in rows:
            found = self._build(row)
            if isinstance(found, str):
                self._reasons[found] += 1
            else:
                yield RankedList(row["sample_id"], found, [1.0])

    def _build(self, row: Row) -> PackableList | str:
        policy = self._job.config.policy
        prompt = read_prompt(row, self._images)
        encoded = encode_or_refuse(self._processor, prompt, policy.max_model_len)
        if isinstance(encoded, Refusal):
            return encoded.reason
        frame = self._maker.read(row).frame
        text = TASKS[row["task"]].write_truth(row["target"], policy.box_format, frame).text
        versions, reason = self._maker.make(row, text)
        if versions is None:
            assert reason is not None
            return reason
        first, *others = [Branch(each.token_ids, degree=each.degree) for each in versions]
        return PackableList(encoded[0], [first], encoded[1], others)


def describe(reading: DegreeReading) -> str:
    """In words."""
    if reading.accuracy is None:
        return "no degree could be asked on the validation split: no prompt has degraded versions"
    return (
        f"of {reading.num_versions} versions of {reading.prompts.num_kept} validation answers "
        f"{reading.accuracy:.1%} are told by their degree; {1 / len(reading.confusion):.1%} by "
        "chance"
    )
