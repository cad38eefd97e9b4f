"""What an objective is: a pure function of log-probabilities and rewards, one loss a list.

Axes: P lists of a batch, G answers of a list (padded; mask_PG says which are there).
An objective returns the loss of every list; the trainer sums them and divides once by the number
of lists of the whole optimiser step, so that micro-batches of different sizes weigh right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from schemas.config import TrainConfig


@dataclass(frozen=True)
class ListBatch:
    """What every objective may look at; all [P, G]."""

    logps_PG: Tensor
    """Sum of token log-probabilities under the policy, nats; carries the gradient."""
    ref_logps_PG: Tensor
    """The same under the frozen reference, nats."""
    rewards_PG: Tensor
    """Rewards, float64: a shift in float32 could create a tie."""
    mask_PG: Tensor
    """True where there is an answer."""
    num_tokens_PG: Tensor
    """Scored tokens of each answer."""

    @property
    def log_ratios_PG(self) -> Tensor:
        """s = log pi(y|x) - log pi_ref(y|x), nats."""
        return self.logps_PG - self.ref_logps_PG


@dataclass(frozen=True)
class Objective:
    """A loss with what is true of it; the tests check the declarations."""

    compute_loss_P: Callable[[ListBatch, TrainConfig], Tensor]
    needs_reference: bool
    reward_affine_invariant: bool
    """a * reward + b with a > 0 leaves the loss alone."""
    ties: str
    """What pairs of equal rewards do."""
