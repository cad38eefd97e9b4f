"""From the scored answers to one prompt to a ranked list, or a reason why there is none.

PerPO (section 3; thresholds as its review quotes them): a prompt is worth training on if its best
and worst answers differ enough. Departures: the same text counts once, since a tie has weight
zero in the loss and costs a forward pass; answers cut off by length never enter, since their end
was not the policy's choice; the true answer is never added.

Everything here is a pure function, and independent of the order in which answers arrive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.base import TaskName
from schemas.config import ListsConfig

# Reasons for candidates.
NO_REWARD = "no reward"
CUT_OFF = "cut off by length"
DUPLICATE = "duplicate text"
THINNED = "thinned to list_size"
# Reasons for lists.
TOO_FEW = "fewer than two answers left"
ALL_EQUAL = "all rewards equal"
SMALL_GAP = "gap below threshold"
OVER_MAX = "beyond max_lists"

SETTINGS_TO_LOOK_AT = {
    TOO_FEW: "generate.max_tokens (cut-off answers) or score.on_unparsed",
    ALL_EQUAL: "generate.temperature, generate.num_candidates or policy.box_format",
    SMALL_GAP: "lists.min_gap",
    OVER_MAX: "lists.max_lists",
}

OF_REFUSED_PROMPTS = "policy.max_model_len and source.max_image_side"  # any other reason

# 1 - 0.96 is 0.04 and 0.84 - 0.8 is 0.0399999999999999: rounding must not decide about a list.
GAP_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Answer:
    """One scored candidate."""

    index: int
    candidate_hash: str
    text: str
    token_ids: Sequence[int]
    reward: float | None
    logp: float  # nats
    finish_reason: str
    error: str | None = None


@dataclass(frozen=True)
class DroppedAnswer:
    """A candidate that is in no list."""

    index: int
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class RankedList:
    """Answers by reward, best first; ranks[i] belongs to answers[i], 0 is best, ties share one."""

    answers: tuple[Answer, ...]
    ranks: tuple[int, ...]
    gap: float


@dataclass(frozen=True)
class ListOutcome:
    """What became of one sample: its list, or the reason why there is none."""

    ranked: RankedList | None
    reason: str | None = None
    detail: str = ""
    dropped: tuple[DroppedAnswer, ...] = ()


def build_list(answers: Iterable[Answer], task: TaskName, config: ListsConfig) -> ListOutcome:
    """The ranked list of one sample's answers, and which answers did not enter it and why.

    A task without an entry in config.min_gap has no threshold beyond two different rewards.
    """
    kept, dropped = _drop_unusable(sorted(answers, key=lambda answer: answer.index))
    if config.drop_duplicates:
        kept, duplicates = _drop_duplicates(kept)
        dropped += duplicates
    ranking = sorted(kept, key=lambda answer: (-_reward(answer), answer.index))
    refusal = _find_refusal(ranking, config.min_gap.get(task, 0.0))
    if refusal:
        return ListOutcome(None, *refusal, dropped=tuple(dropped))
    chosen = [ranking[i] for i in spread_evenly(len(ranking), config.list_size)]
    taken = {answer.index for answer in chosen}
    dropped += [DroppedAnswer(a.index, THINNED) for a in ranking if a.index not in taken]
    rewards = [_reward(answer) for answer in chosen]
    ranked = RankedList(tuple(chosen), compute_dense_ranks(rewards), rewards[0] - rewards[-1])
    return ListOutcome(ranked, dropped=tuple(dropped))


def compute_dense_ranks(rewards: Sequence[float]) -> tuple[int, ...]:
    """Ranks of rewards in descending order; equal rewards share a rank and none is skipped.

    >>> compute_dense_ranks([0.9, 0.5, 0.5, 0.1])
    (0, 1, 1, 2)
    """
    values = sorted(set(rewards), reverse=True)
    rank_of = {value: rank for rank, value in enumerate(values)}
    return tuple(rank_of[reward] for reward in rewards)


def spread_evenly(num_ranked: int, list_size: int) -> list[int]:
    """Which positions of a ranking stay: all, or list_size evenly spaced ones with both ends.

    >>> spread_evenly(9, 3)
    [0, 4, 8]
    """
    if num_ranked <= list_size:
        return list(range(num_ranked))
    steps = list_size - 1
    return [(2 * i * (num_ranked - 1) + steps) // (2 * steps) for i in range(list_size)]


def select_widest(gaps: dict[str, float], max_lists: int | None) -> set[str]:
    """The sample_ids with the widest gaps, at most max_lists; equal gaps in order of sample_id."""
    ordered = sorted(gaps, key=lambda sample_id: (-gaps[sample_id], sample_id))
    return set(ordered[:max_lists])


def explain_no_lists(dropped: dict[str, int]) -> str:
    """One sentence for a stage that made no list: every reason with its count, and what to do.

    Reasons that are not this module's are those of prompts that the policy could not take.
    """
    if not dropped:
        return "no list could be made: there is no train sample; give the source some"
    ordered = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    reasons = ", ".join(f"{reason}: {count}" for reason, count in ordered)
    return (
        f"no list was kept of {sum(dropped.values())} samples ({reasons}); "
        f"look at {SETTINGS_TO_LOOK_AT.get(ordered[0][0], OF_REFUSED_PROMPTS)}"
    )


def _reward(answer: Answer) -> float:
    assert answer.reward is not None
    return answer.reward


def _drop_unusable(answers: Sequence[Answer]) -> tuple[list[Answer], list[DroppedAnswer]]:
    kept, dropped = [], []
    for answer in answers:
        if answer.finish_reason == "length":
            dropped.append(DroppedAnswer(answer.index, CUT_OFF))
        elif answer.reward is None:
            dropped.append(DroppedAnswer(answer.index, NO_REWARD, answer.error or ""))
        else:
            kept.append(answer)
    return kept, dropped


def _drop_duplicates(answers: Sequence[Answer]) -> tuple[list[Answer], list[DroppedAnswer]]:
    """Keep the first answer of each text; `answers` is in order of index."""
    first: dict[str, Answer] = {}
    dropped = []
    for answer in answers:
        kept = first.setdefault(answer.text, answer)
        if kept is not answer:
            dropped.append(DroppedAnswer(answer.index, DUPLICATE, f"same as {kept.index}"))
    return list(first.values()), dropped


def _find_refusal(ranking: Sequence[Answer], min_gap: float) -> tuple[str, str] | None:
    """(reason, detail) why a ranking is no list, or None."""
    if len(ranking) < 2:
        return TOO_FEW, f"{len(ranking)} left"
    best, worst = _reward(ranking[0]), _reward(ranking[-1])
    if best == worst:
        return ALL_EQUAL, f"all {best:g}"
    if best - worst < min_gap - GAP_TOLERANCE:
        return SMALL_GAP, f"{best - worst:.6g} < {min_gap:g}"
    return None


def count_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """Reason -> how often, in order of the reason's name."""
    return dict(sorted(Counter(reasons).items()))
