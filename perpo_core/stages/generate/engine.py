"""What an engine is: prompts in, answers with token ids and log-probabilities out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from perpo_core.policy.prompts import Prompt
from perpo_core.policy.refusals import Refusal
from schemas.run import SamplingJob

GREEDY_INDEX = -1


@dataclass(frozen=True)
class Answer:
    """One sampled answer; `token_logps` are raw log-softmax values at T=1, nats, one a token."""

    index: int
    text: str
    token_ids: list[int]
    token_logps: list[float]
    finish_reason: str  # stop | length
    seed: int


Outcome = list[Answer] | Refusal
"""Of one prompt."""


class Engine(Protocol):
    """Samples answers; the same job and prompts always give the same answers.

    A prompt that the policy cannot take, too long or with an image that its processor refuses, gets
    a refusal in their place and disturbs no other prompt.
    """

    waited_s: float
    """So far: how long it had prompts left and nothing to compute."""

    def __init__(self, job: SamplingJob) -> None: ...

    def sample(self, prompts: Iterator[Prompt]) -> Iterator[tuple[str, Outcome]]:
        """(prompt_id, outcome) of each prompt as it is finished, of many in whatever order.

        A prompt's answers are in order: index -1 (if asked for), 0, 1, ... Prompts are taken as
        they are needed, a bounded number ahead of those that are finished.
        """
        ...
