"""Short answers: the soft accuracy of VQA v2 (Antol et al., ICCV 2015; visualqa.org/evaluation).

Ten people answered. An answer is fully right where three of the others said the same:
min(1, matches / 3), averaged over the ten ways to leave one person out, so that 1, 2, 3 and 4
matches give 0.3, 0.6, 0.9 and 1. Answers are alike after the official normalisation
(perpo_core.perception.rewards.vqa_words), which is applied to all of them always; the official code
leaves it out where all ten are equal to the letter.

A shorter list is no vote but a list of what is accepted, each as good as another: 1 for one of
them, else 0. `votes_from` says from how many on they are votes.
"""

from __future__ import annotations

from pydantic import Field

from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.rewards.base import (
    Reading,
    Reward,
    RewardResult,
    Target,
    list_truths,
)
from perpo_core.perception.rewards.vqa_words import normalize_answer
from schemas.base import Section

NEEDED = 3  # others who said the same


class VqaOptions(Section):
    """Of the reward vqa_accuracy."""

    votes_from: int = Field(default=10, ge=NEEDED + 1, le=1_000)
    """Lists of at least so many answers are votes of as many people; in a shorter one each answer
    is right."""


def compute_vqa_accuracy(
    text: str, target: Target, reading: Reading, options: VqaOptions
) -> RewardResult:
    """Accuracy in [0, 1] against all accepted answers.

    A blank answer is right where a blank one is accepted.
    """
    del reading
    stated, problem = find_answer(text)
    if stated is None:
        return RewardResult(None, error=problem)
    answer = normalize_answer(stated)
    accepted = [normalize_answer(truth["text"] or "") for truth in list_truths(target)]
    matches = accepted.count(answer)
    is_vote = len(accepted) >= options.votes_from
    accuracy = compute_vote(matches, len(accepted)) if is_vote else float(matches > 0)
    return RewardResult(accuracy, parsed=answer)


def compute_vote(num_matches: int, num_people: int) -> float:
    """min(1, matches / 3), averaged over all ways to leave one person out.

    >>> [round(compute_vote(matches, 10), 3) for matches in range(5)]
    [0.0, 0.3, 0.6, 0.9, 1.0]
    """
    without_a_match = num_matches * min(NEEDED, num_matches - 1)
    without_another = (num_people - num_matches) * min(NEEDED, num_matches)
    return (without_a_match + without_another) / (NEEDED * num_people)


VQA_ACCURACY = Reward(
    "vqa_accuracy", compute_vqa_accuracy, options=VqaOptions, takes_all_truths=True
)
