"""What answers are worth, and the rows that tell of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perpo_core.perception.frames import build_framer
from perpo_core.perception.judging import Item, Judge, Judgement
from perpo_core.stages.outside import require_judged
from perpo_core.stages.samples import SampleRows
from perpo_core.stages.stage import StageContext
from perpo_core.store.row_reader import read_columns
from schemas.artifact import CandidateSet

Row = dict[str, Any]


def score_answers(
    context: StageContext,
    judge: Judge,
    whole: SampleRows,
    by_prompt: Mapping[str, Sequence[Row]],
    candidates: CandidateSet,
) -> Iterator[list[tuple[Row, Row, Judgement]]]:
    """(answer, question, what it is worth) by the shard: every answer to these prompts with every
    question of its prompt.

    A question names the sample whose truth holds, and the size of the image that is shown.
    """
    policy = context.config.policy
    build_frame = build_framer(policy.box_format, context.policy.folder, policy.pixel_limits)
    for path in context.store.paths(candidates):
        answers = read_columns(path, ["prompt_id", "index", "text"]).to_pylist()
        pairs = [(a, asked) for a in answers for asked in by_prompt.get(a["prompt_id"], [])]
        items = [
            Item(
                answer["text"], asked["task"], asked["target"],
                build_frame(asked["width"], asked["height"]), whole.find(asked["sample_id"]),
            )
            for answer, asked in pairs
        ]  # fmt: skip
        judgements = judge.judge_many(items, with_measure=True)
        require_judged(judgements)
        yield [(*pair, judged) for pair, judged in zip(pairs, judgements, strict=True)]


def build_prediction(
    sample: Row, policy_name: str, answer: Row, judgement: Judgement
) -> dict[str, Any]:
    """One row of PREDICTIONS."""
    return {
        **{name: sample[name] for name in ("sample_id", "image_id", "task", "split")},
        "policy": policy_name,
        "index": answer["index"],
        "text": answer["text"],
        "reward": judgement.value,
        "measure": judgement.measure,
        "rewards": list(judgement.rewards.items()),
        "error": judgement.error,
    }
