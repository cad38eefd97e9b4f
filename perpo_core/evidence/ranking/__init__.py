"""Does the policy find better answers likelier, and does it look for that at the image?

Lists of the base's own sampled answers to test samples; log-probabilities of every answer under the
policy and under the reference, with the right image and with another sample's: pairs in order,
Kendall's tau-b, NDCG, DPO's implicit reward margin under right and wrong image (mDPO's view, arXiv
2406.11839), and whether log-probability predicts reward. No refresh asks for it; `perpo compare`
does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perpo_core.evidence.ranking.lists import HeldOutLists, Image, make_lists
from perpo_core.evidence.ranking.measuring import (
    Bootstrap,
    RankedAnswers,
    join_logps,
    measure_list,
    measure_tasks,
)
from perpo_core.evidence.ranking.tables import list_parents, make_tables, read_table
from perpo_core.stages.samples import SampleRows, list_sample_files
from perpo_core.stages.stage import StageContext
from perpo_core.store.row_reader import read_columns
from schemas.artifact import CandidateSet, ReferenceSet, SampleSet
from schemas.ranking import RankingReport
from schemas.run import PolicyRef

__all__ = ["measure_ranking"]

LIST_COLUMNS = ["sample_id", "task", "responses"]
Logps = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def measure_ranking(
    context: StageContext,
    samples: SampleSet,
    policy: PolicyRef,
    base_candidates: CandidateSet,
    num_prompts: int | None = None,
) -> RankingReport:
    """How `policy` ranks the answers that the context's policy, the reference, gave.

    `base_candidates` are the reference's held-out answers, as evaluate has them (the first of an
    evaluation's parents of that kind). At most `num_prompts` test samples a task, None: as many as
    evaluate.probe_prompts, and then the same ones. Lists and log-probabilities are in the store
    afterwards, so that the same again computes nothing. Raises ValueError where there is nothing to
    rank, and ChildFailed where a model broke.
    """
    evaluate = context.config.evaluate
    number = evaluate.probe_prompts if num_prompts is None else num_prompts
    held_out = make_lists(context, samples, base_candidates, number)
    own, reference = (make_tables(context, held_out, each) for each in (policy, context.policy))
    answers = _read_answers(context, samples, held_out, own, reference)
    lists = [measure_list(each) for each in answers]
    return RankingReport(
        policy_digest=policy.digest,
        reference_digest=context.policy.digest,
        tasks=measure_tasks(answers, lists, Bootstrap(evaluate.bootstrap_resamples, evaluate.seed)),
        lists=lists,
        counts=held_out.counts,
        parents=list_parents(own, reference),
    )


def _read_answers(
    context: StageContext,
    samples: SampleSet,
    held_out: HeldOutLists,
    own: Mapping[Image, ReferenceSet],
    reference: Mapping[Image, ReferenceSet],
) -> list[RankedAnswers]:
    """Every list with all that is known of it, in order of sample_id."""
    logps = {image: _join(context, held_out, image, own[image], reference[image]) for image in own}
    whole = SampleRows(list_sample_files(context.store, samples))
    rows = [
        row
        for path in context.store.paths(held_out.lists["right"])
        for row in read_columns(path, LIST_COLUMNS).to_pylist()
    ]
    return [
        RankedAnswers(
            sample_id=row["sample_id"],
            image_id=whole.read(row["sample_id"])["image_id"],
            task=row["task"],
            rewards_G=[answer["reward"] for answer in row["responses"]],
            lengths_G=[len(answer["token_ids"]) for answer in row["responses"]],
            right_G=logps["right"][row["sample_id"]],
            shuffled_G=logps.get("shuffled", {}).get(row["sample_id"]),
        )
        for row in sorted(rows, key=lambda row: row["sample_id"])
    ]


def _join(
    context: StageContext,
    held_out: HeldOutLists,
    image: Image,
    own: ReferenceSet,
    reference: ReferenceSet,
) -> Logps:
    paths = context.store.paths(held_out.lists[image])
    ids = [i for path in paths for i in read_columns(path, ["sample_id"])["sample_id"].to_pylist()]
    return join_logps(ids, read_table(context, own), read_table(context, reference))
