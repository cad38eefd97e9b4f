"""What an objective is: a pure function of log-probabilities and rewards, one loss a list.

Axes: P lists of a batch, G answers of a list (padded; mask_PG says which are there), T tokens of an
answer (padded; num_tokens_PG says how many), K further references, V versions of a list's best
answer, each of one of D degrees. An objective returns the loss of every list; the trainer sums them
and divides once by the number of lists of the whole optimiser step, so that micro-batches of
different sizes weigh right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from schemas.train_config import TrainConfig

Need = Literal[
    "reference", "crop", "extra_references", "tokens", "closeness", "popularity", "smoothing",
    "sampler", "degrees",
]  # fmt: skip
Invariance = Literal["reward_shift", "reward_affine", "reward_order", "reference_shift"]


@dataclass(frozen=True)
class ListBatch:
    """What every objective may look at; the optional fields are there for those that need them."""

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
    crop_logps_PG: Tensor | None = None
    """logps_PG of the best answers with the image cropped; says nothing of the others."""
    ref_crop_logps_PG: Tensor | None = None
    """The same under the reference."""
    extra_ref_logps_KPG: Tensor | None = None
    """ref_logps_PG under K further references."""
    token_logps_PGT: Tensor | None = None
    """What logps_PG is the sum of, nats; carries the gradient."""
    ref_token_logps_PGT: Tensor | None = None
    """The same under the reference."""
    contrast_PGT: Tensor | None = None
    """Log-probability of each token under the better of two contrastive policies, less that under
    the worse, nats."""
    closeness_PG: Tensor | None = None
    """How close an answer is to the list's best one, float64; perpo_core.stages.train.closeness."""
    popularity_PG: Tensor | None = None
    """Lists of the task that hold an answer, float64; perpo_core.stages.train.popularity."""
    smoothing_PG: Tensor | None = None
    """What the data say of how far an answer's place can be doubted, 0 to 1, float64."""
    sampler_logps_PG: Tensor | None = None
    """logps_PG under the policy that sampled the answers, as it reported them, float64."""
    degree_logits_PVD: Tensor | None = None
    """Logits of the degrees 0 .. D - 1 of the versions; carries the gradient."""
    degrees_PV: Tensor | None = None
    """The degree that each has; -1 where a list has fewer."""

    @property
    def log_ratios_PG(self) -> Tensor:
        """s = log pi(y|x) - log pi_ref(y|x), nats."""
        return self.logps_PG - self.ref_logps_PG


@dataclass(frozen=True)
class Objective:
    """A loss with what is true of it; the tests check the declarations.

    True of every objective, and so not declared: neither the order of a list nor its padding
    changes the loss, and a list without answers has loss 0 and gradient 0.
    """

    compute_loss_P: Callable[[ListBatch, TrainConfig], Tensor]
    needs: frozenset[Need]
    """What of a ListBatch has to be real beside the policy's log-probabilities, whatever the
    settings; perpo_core.stages.train.objectives.combine knows what single settings ask for."""
    invariances: frozenset[Invariance]
    """What leaves the loss of a list alone. reward_shift: reward + b; reward_affine (says more):
    a * reward + b with a > 0; reward_order (says most): any change of rewards that keeps their
    order and ties; reference_shift: a constant added to the reference log-probabilities of all its
    answers."""
    ties: Literal["apart", "alike"]
    """apart: answers of equal rewards are never compared, and a list without two different rewards
    (a singleton, all tied) has loss 0 and gradient 0, where p3o's KL penalty counts as reward;
    alike: the loss is that of the best answers, all that tie for it, and needs no worse one."""
