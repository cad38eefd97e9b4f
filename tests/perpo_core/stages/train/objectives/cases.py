"""Lists for tests of objectives: plain numbers, Hypothesis strategies, and the tensors of them.

Log-probabilities and references are multiples of 1/4 between -8 and 0: exact in bfloat16, as are
their differences, so that no dtype sees a tie of scores where another sees none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from perpo_core.stages.train.objectives import OBJECTIVES, TERMS, ListBatch, Objective
from schemas.train_config import PairChoice, TrainConfig

LOSSES: dict[str, Objective] = {**OBJECTIVES, **TERMS}
NUM_EXTRA, NUM_DEGREES = 2, 3
MAX_TOKENS = 9  # of an answer
MANY = settings(max_examples=50, deadline=None)
EXAMPLES = settings(max_examples=15, deadline=None)

# What each objective reads of the configuration, in all its kinds.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "perpo": [{"gamma": 0.0}, {"gamma": 0.5}, {"gamma": 2.0}],
    "dpo": [{"pairs": choice} for choice in get_args(PairChoice)],
    "rpo": [
        {"rpo_nll": "averaged", "rpo_eta": 0.2},
        {"rpo_nll": "cumulative", "rpo_eta": 0.3, "pairs": "adjacent"},
        {"rpo_nll": "averaged", "rpo_eta": 0.2, "pairs": "nearest"},
    ],
    "mrpo": [
        {"mrpo_clip": 0.1, "pairs": "best_rest"},
        {"mrpo_clip": 0.1, "pairs": "hardest"},
        {"mrpo_clip": 1.0, "pairs": "all"},
    ],
    "rosepo": [
        {"smoothing_slope": 2.0},
        {"smoothing": "column", "smoothing_column": "doubt", "pairs": "best_rest"},
        {"smoothing_slope": 0.5, "pairs": "all"},
    ],
    "p3o": [
        {"clip": "joint", "clip_range": 0.3},
        {"clip": "separate", "clip_range": 0.2, "kl_weight": 0.1},
        {"clip": "separate", "clip_range": 0.9},
        {"clip": "joint", "clip_range": 0.9, "kl_weight": 0.3},
    ],
    "tis_dpo": [{"pairs": "adjacent"}, {"tis_pairs": "gap", "tis_high": 0.5, "tis_scale": 0.8}],
}
WANTED: dict[str, dict[str, Any]] = {
    "mrpo": {"extra_references": ["elsewhere"]},
    "rosepo": {"smoothing_slope": 2.0},
}
"""What a configuration of these cannot do without."""


def list_configs(name: str, beta: float = 0.7) -> list[TrainConfig]:
    """The configurations under which a loss is tested."""
    return [build_config(name, beta=beta, **kind) for kind in SETTINGS.get(name, [{}])]


def build_config(name: str, **fields: Any) -> TrainConfig:
    """A configuration for a loss; the pure functions never open the reference it names."""
    named = {"objective": name} if name in OBJECTIVES else {}
    return TrainConfig(**{**named, **WANTED.get(name, {}), **fields})


@dataclass(frozen=True)
class Case:
    """One list as plain numbers, each of length G; `extra_refs` has one such row a reference."""

    logps: Sequence[float]
    refs: Sequence[float]
    rewards: Sequence[float]
    mask: Sequence[bool]
    num_tokens: Sequence[int]
    crops: Sequence[float]
    ref_crops: Sequence[float]
    extra_refs: Sequence[Sequence[float]]
    closeness: Sequence[float]
    popularity: Sequence[float]
    smoothing: Sequence[float]
    samplers: Sequence[float]
    degree_logits: Sequence[Sequence[float]] = ((0.5, -0.5, 1.0), (1.0, 0.0, -0.25))
    """A row a version of the best answer, a number a degree."""
    degrees: Sequence[int] = (0, 1)

    @property
    def members(self) -> list[int]:
        return [i for i, there in enumerate(self.mask) if there]

    @property
    def num_rewards(self) -> int:
        """Different rewards among the answers that are there."""
        return len({self.rewards[i] for i in self.members})

    def list_contrasts(self, i: int) -> list[float]:
        """Of the tokens of answer i, of either sign; from the first further reference."""
        size = (self.extra_refs[0][i] + 4) / 2
        return [size if t % 2 else -size for t in range(self.num_tokens[i])]

    def reorder(self, order: Sequence[int]) -> Case:
        """The same answers in another order."""

        def pick(row: Sequence[Any]) -> list[Any]:
            return [row[i] for i in order]

        whole = ("extra_refs", "degree_logits", "degrees")
        rows = {name: pick(row) for name, row in vars(self).items() if name not in whole}
        return replace(self, **rows, extra_refs=[pick(row) for row in self.extra_refs])


def share_out(num_tokens: int) -> list[float]:
    """What share of an answer's log-probability each of its tokens has: exact in bfloat16."""
    return [1.0] if num_tokens == 1 else [0.25, 0.75, *[0.0] * (num_tokens - 2)]


def build_case(
    ratios: Sequence[float], rewards: Sequence[float], mask: Sequence[bool] | None = None
) -> Case:
    """A list by its log-ratios: reference and sampler 0, answers of 4 tokens, crops that differ."""
    size = len(ratios)
    return Case(
        ratios, [0.0] * size, rewards, mask or [True] * size, [4] * size,
        [-0.5] * size, [-1.0] * size, [[-0.25 * (i + k) for i in range(size)] for k in (1, 4)],
        closeness=[1 / (1 + i) for i in range(size)], popularity=[float(i) for i in range(size)],
        smoothing=[0.1 * i for i in range(size)],
        samplers=[0.0] * size,
    )  # fmt: skip


def build_batch(cases: Sequence[Case], dtype: torch.dtype = torch.float64) -> ListBatch:
    """Lists of any sizes, padded with what must not matter."""
    size = max(len(case.logps) for case in cases)
    num_versions = max(len(case.degrees) for case in cases)

    def stack(
        rows: Sequence[Sequence[Any]], padding: Any, kind: torch.dtype, width: int = size
    ) -> Tensor:
        return torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows], dtype=kind)

    def stack_tokens(tokens: Callable[[Case, int], Sequence[float]]) -> Tensor:
        nothing = [0.5] * MAX_TOKENS
        rows = [
            [[*tokens(c, i), *nothing][:MAX_TOKENS] for i in range(len(c.logps))] for c in cases
        ]
        return torch.tensor([[*row, *[nothing] * (size - len(row))] for row in rows], dtype=dtype)

    logps_PG = stack([case.logps for case in cases], torch.nan, dtype).requires_grad_()
    ref_logps_PG = stack([case.refs for case in cases], torch.inf, dtype)
    shares_PGT = stack_tokens(lambda case, i: share_out(case.num_tokens[i]))
    return ListBatch(
        logps_PG=logps_PG,
        ref_logps_PG=ref_logps_PG,
        rewards_PG=stack([case.rewards for case in cases], 99.0, torch.float64),
        mask_PG=stack([case.mask for case in cases], False, torch.bool),
        num_tokens_PG=stack([case.num_tokens for case in cases], 0, torch.long),
        crop_logps_PG=stack([case.crops for case in cases], torch.nan, dtype).requires_grad_(),
        ref_crop_logps_PG=stack([case.ref_crops for case in cases], 7.0, dtype),
        extra_ref_logps_KPG=torch.stack(
            [
                stack([case.extra_refs[k] for case in cases], torch.nan, dtype)
                for k in range(NUM_EXTRA)
            ]
        ),
        token_logps_PGT=logps_PG[:, :, None] * shares_PGT,
        ref_token_logps_PGT=ref_logps_PG[:, :, None] * shares_PGT,
        contrast_PGT=stack_tokens(Case.list_contrasts),
        closeness_PG=stack([case.closeness for case in cases], 9.0, torch.float64),
        popularity_PG=stack([case.popularity for case in cases], 9.0, torch.float64),
        smoothing_PG=stack([case.smoothing for case in cases], torch.nan, torch.float64),
        sampler_logps_PG=stack([case.samplers for case in cases], torch.nan, torch.float64),
        degree_logits_PVD=stack(
            [case.degree_logits for case in cases], [torch.nan] * NUM_DEGREES, dtype, num_versions
        )
        .view(len(cases), num_versions, NUM_DEGREES)
        .requires_grad_(),
        degrees_PV=stack([case.degrees for case in cases], -1, torch.long, num_versions),
    )


def move_batch(batch: ListBatch, device: str) -> ListBatch:
    """The batch on another device."""
    tensors: dict[str, Any] = {name: value.to(device) for name, value in vars(batch).items()}
    return replace(batch, **tensors)


def compute(name: str, case: Case, config: TrainConfig) -> float:
    """The loss of one list, float64."""
    return LOSSES[name].compute_loss_P(build_batch([case]), config).item()


def compute_gradients(loss: Tensor, *inputs: Tensor | None) -> list[Tensor]:
    """Gradients of a loss; zeros where it does not depend on an input at all."""
    wanted = [tensor for tensor in inputs if tensor is not None]
    return list(torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True))


def replace_row(case: Case, **rows: Sequence[Any]) -> Case:
    return replace(case, **rows)


quarters = (st.integers(-32, 0) | st.integers(-2, 0)).map(lambda n: n / 4)  # ties are common
versions = st.tuples(
    st.lists(quarters, min_size=NUM_DEGREES, max_size=NUM_DEGREES),
    st.integers(0, NUM_DEGREES - 1),
)  # logits and degree
reward_values = st.integers(0, 6).map(lambda n: n / 6)


def add_versions(found: Sequence[tuple[Sequence[float], int]], *parts: Any, **rows: Any) -> Case:
    """A list with versions of its best answer, (logits, degree) each."""
    logits, labels = [row for row, _ in found], [label for _, label in found]
    return replace(Case(*parts, **rows), degree_logits=logits, degrees=labels)


def draw_cases(min_size: int = 1, max_size: int = 5) -> st.SearchStrategy[Case]:
    """Lists with ties of rewards and of scores, and with holes in the mask."""

    def of_size(size: int) -> st.SearchStrategy[Case]:
        def rows(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
            return st.lists(values, min_size=size, max_size=size)

        return st.builds(
            add_versions, st.lists(versions, max_size=NUM_DEGREES),
            rows(quarters), rows(quarters), rows(reward_values),
            rows(st.sampled_from([True, True, True, False])), rows(st.integers(1, MAX_TOKENS)),
            rows(quarters), rows(quarters),
            st.lists(rows(quarters), min_size=NUM_EXTRA, max_size=NUM_EXTRA),
            closeness=rows(reward_values), popularity=rows(st.integers(1, 3).map(float)),
            smoothing=rows(reward_values),
            samplers=rows(quarters),
        )  # fmt: skip

    return st.integers(min_size, max_size).flatmap(of_size)
