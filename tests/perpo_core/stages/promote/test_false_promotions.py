"""How often the gates promote a policy that is no better, after a choice among several of those.

Checkpoints whose changes of reward are noise: up as often as down, on every prompt. The one with
the best mean greedy reward on the choosing prompts is judged by the real gates on other prompts,
and, as the control, on the very prompts that chose it. docs/gates.md has the table:

    python -m tests.perpo_core.stages.promote.test_false_promotions
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from perpo_core.stages.evaluate.statistics import compare_paired
from perpo_core.stages.promote.gates import compute_gates, decide
from perpo_core.stages.train.history import choose_step
from schemas.artifact import RewardPoint
from schemas.config import PromoteConfig

NUM_CHECKPOINTS = (1, 5, 10, 20)
NUM_PROMPTS = 200
IMAGES = [f"image {number}" for number in range(NUM_PROMPTS)]
SPREAD = 0.12  # of the change of a prompt's reward; the default refresh: 0.12 greedy, 0.07 sampled
CORRELATION = 0.65  # of both changes of a prompt, in the test
# Of the test; fewer resamples make an interval less sure, not shorter.
ROUNDS, RESAMPLES = 1000, 200
Changes = NDArray[np.float64]


def draw_changes(rng: np.random.Generator, correlation: float) -> Changes:
    """[K, 2, P] changes of the greedy and of the sampled reward: of a prompt they go together.

    Changes of different checkpoints are independent, and the start is none of them: with a start to
    keep, or with checkpoints that resemble each other, fewer are promoted.
    """
    greedy, own = rng.normal(0, SPREAD, (2, max(NUM_CHECKPOINTS), NUM_PROMPTS))
    sampled = correlation * greedy + math.sqrt(1 - correlation**2) * own
    return np.stack([greedy, sampled], axis=1)


def choose(changes: Changes) -> int:
    """The checkpoint that training would keep."""
    return choose_step(
        [
            RewardPoint(step=step, mean_reward=float(greedy_P.mean()), per_task={})
            for step, (greedy_P, _) in enumerate(changes)
        ]
    )


def is_promoted(changes: Changes, resamples: int) -> bool:
    """What the default gates say of one checkpoint."""
    start = np.zeros(NUM_PROMPTS)
    measured = {
        name: compare_paired(start, change_P, IMAGES, resamples, seed=1)
        for name, change_P in zip(("greedy_reward", "sampled_reward"), changes, strict=True)
    }
    return decide(compute_gates(PromoteConfig(), {"grounding": measured}))


def simulate(correlation: float, rounds: int, resamples: int) -> dict[str, dict[int, float]]:
    """{"other prompts" or "the same": {checkpoints to choose from: share promoted}}."""
    promoted = {"other prompts": Counter[int](), "the same": Counter[int]()}
    rng = np.random.default_rng(7)
    for _ in range(rounds):
        choosing, judging = (draw_changes(rng, correlation) for _ in range(2))
        best = {number: choose(choosing[:number]) for number in NUM_CHECKPOINTS}
        for name, changes in (("other prompts", judging), ("the same", choosing)):
            passed = {step: is_promoted(changes[step], resamples) for step in set(best.values())}
            promoted[name].update(number for number in best if passed[best[number]])
    return {
        name: {number: counted[number] / rounds for number in NUM_CHECKPOINTS}
        for name, counted in promoted.items()
    }


@pytest.fixture(scope="module")
def promoted() -> dict[str, dict[int, float]]:
    return simulate(CORRELATION, ROUNDS, RESAMPLES)


def bound(share: float) -> tuple[float, float]:
    """The exact 95% interval of a share."""
    interval = binomtest(round(share * ROUNDS), ROUNDS).proportion_ci(method="exact")
    return interval.low, interval.high


def test_luck_on_the_prompts_that_chose_promotes_nothing(
    promoted: dict[str, dict[int, float]],
) -> None:
    """However many there are to choose from: one end of a 95% interval lies wrong in 2.5%."""
    for number, share in promoted["other prompts"].items():
        assert bound(share)[1] < 0.06, f"{share:.1%} of those chosen among {number}"


def test_gates_on_the_prompts_that_chose_would_promote_luck(
    promoted: dict[str, dict[int, float]],
) -> None:
    """So the simulation can tell, and one checkpoint alone has no luck to bring."""
    shares = promoted["the same"]
    assert bound(shares[1])[1] < 0.06
    assert bound(shares[20])[0] > 0.15


def main() -> None:
    """Markdown rows: correlation, where the gates look, the share promoted by checkpoints."""
    for correlation in (0.25, CORRELATION, 1.0):
        for name, shares in simulate(correlation, ROUNDS, resamples=2000).items():
            cells = [f"{correlation:g}", name, *(f"{share:.1%}" for share in shares.values())]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
