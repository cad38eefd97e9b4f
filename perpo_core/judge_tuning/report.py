"""What a tuning found, as its report says it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from perpo_core.judge_tuning.agreement import Agreement, describe_known
from perpo_core.judge_tuning.documents import Documents
from perpo_core.judge_tuning.fairness import Fairness
from perpo_core.judge_tuning.search import Round, Tried
from perpo_core.perception.rewards.outside import JudgeOptions
from schemas.base import TaskName
from schemas.config import RefreshConfig
from schemas.judge_tuning import JudgeTuning, JudgeTuningReport, TriedInstruction, TuningRound


def build_report(
    config: RefreshConfig,
    task: TaskName,
    servers: tuple[JudgeOptions, JudgeOptions],
    settings: JudgeTuning,
    documents: Documents,
    fixed: Sequence[str],
    rounds: Sequence[Round],
    checked: tuple[Fairness, Fairness],
    agreement: Agreement,
) -> JudgeTuningReport:
    """`servers`: judge and writer; `checked`: before and after, on the further documents."""
    judge, writer = servers
    first, last = rounds[0].tried[0], rounds[-1].best
    before, after = (
        describe(Tried(tried.instruction, fairness), checked[0])
        for tried, fairness in zip((first, last), checked, strict=True)
    )
    return JudgeTuningReport(
        task=task,
        model=judge.model,
        writer=writer.model,
        settings=settings,
        candidates_key=documents.candidates_key,
        sample_ids=[each.sample_id for each in documents.tuning],
        check_sample_ids=[each.sample_id for each in documents.check],
        kept_words=list(fixed),
        rounds=[describe_round(each, first.fairness) for each in rounds],
        before=before,
        after=after,
        known_reward=describe_known(config.score, task),
        agreement=agreement.change,
        num_equal=agreement.num_equal,
        num_unread=agreement.num_unread,
    )


def describe_round(found: Round, first: Fairness) -> TuningRound:
    return TuningRound(
        tried=[describe(each, first) for each in found.tried],
        dropped=found.dropped,
        best=describe(found.best, first),
    )


def describe(tried: Tried, first: Fairness) -> TriedInstruction:
    """`first`: what the first instruction led to on the same documents."""
    fairness = tried.fairness
    return TriedInstruction(
        instruction=tried.instruction,
        first_share=_as_float(fairness.first_share),
        fairness=_as_float(fairness.fairness),
        consistency=_as_float(fairness.consistency),
        num_decided=fairness.num_decided,
        num_tied=fairness.num_tied,
        num_unread=fairness.num_unread,
        is_of_use=fairness.is_of_use(first),
    )


def _as_float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
