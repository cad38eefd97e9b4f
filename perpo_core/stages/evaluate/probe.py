"""The same questions with other images: who gains there too does not gain by looking.

Greedy answers of both policies to some test samples, shown grey, another sample's image, or a small
crop (perpo_core/stages/probing). They are judged by the sample's own truth, in the frame of the
image that is shown; the right image is not asked about again. What one policy cannot take, of a way
or of the right image, is left out for both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perpo_core.perception.judging import Judge
from perpo_core.perception.tasks import TASKS
from perpo_core.policy.refusals import load_refusals
from perpo_core.stages.evaluate.answering import answer
from perpo_core.stages.evaluate.needs_image import compare_images
from perpo_core.stages.evaluate.scoring import score_answers
from perpo_core.stages.generate import build_sampling_request
from perpo_core.stages.probing import (
    NO_OTHER,
    SPLIT,
    ProbedRow,
    make_probed_samples,
    read_probed,
)
from perpo_core.stages.samples import SampleRows
from perpo_core.stages.stage import StageContext
from perpo_core.store.workspace import Workspace
from schemas.arrow import PROBES
from schemas.artifact import CandidateSet, FileRef, SampleSet
from schemas.base import TaskName
from schemas.config import RefreshConfig
from schemas.probing import WAYS, ImageProbe, ProbeWay
from schemas.run import PolicyRef, SamplingRequest

VERSION = 1
PROBES_FILE = "probes.parquet"
POLICIES = ("base", "trained")
GREEDY_INDEX = -1
NOT_ANSWERED = "not answered by both policies"

Row = dict[str, Any]
Rewards = Mapping[tuple[str, str], float]
"""(policy, sample_id) -> reward of the greedy answer."""


@dataclass(frozen=True)
class Probe:
    """What came of it."""

    by_task: dict[TaskName, dict[ProbeWay, ImageProbe]] = field(default_factory=dict)
    candidates: Sequence[CandidateSet] = ()
    """The answers, of base and trained."""
    files: list[FileRef] = field(default_factory=list)


def describe_probe(config: RefreshConfig) -> dict[str, Any]:
    """What an evaluation's key says of it: nothing where none is asked for."""
    number = count_asked(config)
    return {"probe": [VERSION, WAYS, number]} if number else {}


def count_asked(config: RefreshConfig) -> int:
    """Samples a task at most; none where test prompts are not answered with their own images."""
    return config.evaluate.probe_prompts if SPLIT in config.evaluate.splits else 0


def build_request(config: RefreshConfig) -> SamplingRequest:
    """The greedy answer alone; no seed, since nothing is drawn."""
    return build_sampling_request(config, [SPLIT], num_candidates=0, seed=0)


def probe_images(
    context: StageContext,
    workspace: Workspace,
    samples: SampleSet,
    policies: Sequence[PolicyRef],
    judge: Judge,
    whole: SampleRows,
    predictions: pa.Table,
) -> Probe:
    """Ask base and trained, in this order; `predictions` have their rewards with right images.

    Nothing where evaluate.probe_prompts is 0 or the split is empty or not answered.
    """
    number = count_asked(context.config)
    probed = make_probed_samples(context, samples, number) if number else None
    if probed is None:
        return Probe()
    request = build_request(context.config)
    answers = [
        answer(context, probed, policy, request, name, "probe")
        for name, policy in zip(POLICIES, policies, strict=True)
    ]
    asked = read_probed(context.store, probed)
    refused = {prompt_id for each in answers for prompt_id in load_refusals(context.store, each)}
    rows: list[Row] = []

    def judge_all() -> Iterator[list[Row]]:
        by_prompt = _group([row for row in asked if row.prompt_id not in refused])
        for name, candidates in zip(POLICIES, answers, strict=True):
            for scored in score_answers(context, judge, whole, by_prompt, candidates):
                found = [_build_row(name, *each) for each in scored]
                rows.extend(found)
                yield found

    file = workspace.write_groups(PROBES_FILE, PROBES, judge_all())
    resamples, seed = context.config.evaluate.bootstrap_resamples, context.config.evaluate.seed
    by_task = compute_probe(asked, read_right(predictions), rows, resamples, seed)
    return Probe(by_task, answers, [file])


def _group(asked: Sequence[ProbedRow]) -> dict[str, list[Row]]:
    """prompt_id -> its questions: two samples may ask the same about the same grey."""
    by_prompt: dict[str, list[Row]] = {}
    for row in asked:
        width, height = row.size
        question = vars(row) | {"width": width, "height": height}
        by_prompt.setdefault(row.prompt_id, []).append(question)
    return by_prompt


def _build_row(name: str, answered: Row, asked: Row, judgement: Any) -> Row:
    """One row of PROBES."""
    return {
        **{column: asked[column] for column in ("sample_id", "image_id", "task", "way")},
        "policy": name,
        "text": answered["text"],
        "reward": judgement.value,
        "error": judgement.error,
    }


def read_right(predictions: pa.Table) -> Rewards:
    """With the right images, of rows of schemas.arrow.PREDICTIONS."""
    is_wanted = pc.and_(
        pc.equal(predictions["split"], SPLIT), pc.equal(predictions["index"], GREEDY_INDEX)
    )
    rows = predictions.filter(is_wanted).select(["policy", "sample_id", "reward"]).to_pylist()
    return {(row["policy"], row["sample_id"]): row["reward"] for row in rows}


def compute_probe(
    asked: Sequence[ProbedRow], right: Rewards, rows: Sequence[Row], resamples: int, seed: int
) -> dict[TaskName, dict[ProbeWay, ImageProbe]]:
    """Task -> way -> what was measured; every task and way that was to be asked."""
    chosen: dict[TaskName, set[str]] = {}
    for each in asked:
        chosen.setdefault(each.task, set()).add(each.sample_id)
    image_of = {each.sample_id: each.image_id for each in asked}
    other: dict[ProbeWay, dict[tuple[str, str], float]] = {way: {} for way in WAYS}
    for row in rows:
        other[row["way"]][row["policy"], row["sample_id"]] = row["reward"]
    asked_of = Counter((each.task, each.way) for each in asked)
    by_task: dict[TaskName, dict[ProbeWay, ImageProbe]] = {}
    for task in [task for task in TASKS if task in chosen]:
        for way in WAYS:
            ids = [i for i in sorted(chosen[task]) if _is_complete(i, right, other[way])]
            dropped = {
                NO_OTHER: len(chosen[task]) - asked_of[task, way],
                NOT_ANSWERED: asked_of[task, way] - len(ids),
            }
            probe = _compare(ids, image_of, right, other[way], resamples, seed)
            probe = probe.model_copy(
                update={"dropped": {reason: n for reason, n in dropped.items() if n}}
            )
            by_task.setdefault(task, {})[way] = probe
    return by_task


def _is_complete(sample_id: str, *rewards: Rewards) -> bool:
    return all((name, sample_id) in each for each in rewards for name in POLICIES)


def _compare(
    ids: Sequence[str],
    image_of: Mapping[str, str],
    right: Rewards,
    other: Rewards,
    resamples: int,
    seed: int,
) -> ImageProbe:
    if not ids:
        return ImageProbe()
    (right_base, right_trained), (other_base, other_trained) = (
        [np.array([rewards[name, i] for i in ids]) for name in POLICIES]
        for rewards in (right, other)
    )
    images_P = [image_of[i] for i in ids]
    return compare_images(
        (right_base, right_trained), (other_base, other_trained), images_P, resamples, seed
    )
