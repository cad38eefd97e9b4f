"""Settings that only some objectives read: what nobody reads makes no other policy.

So they are in the key of a training only where its objective reads them.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.train_config import ObjectiveName, TrainConfig

READ_BY: Mapping[str, frozenset[ObjectiveName]] = {
    "gamma": frozenset({"perpo", "tis_dpo"}),
    "pairs": frozenset({"dpo", "rpo", "mrpo", "tis_dpo", "rosepo"}),
    "rpo_eta": frozenset({"rpo"}),
    "rpo_nll": frozenset({"rpo"}),
    "mrpo_clip": frozenset({"mrpo"}),
    "tis_pairs": frozenset({"tis_dpo"}),
    "tis_low": frozenset({"tis_dpo"}),
    "tis_high": frozenset({"tis_dpo"}),
    "tis_scale": frozenset({"tis_dpo"}),
    "smoothing": frozenset({"rosepo"}),
    "smoothing_slope": frozenset({"rosepo"}),
    "smoothing_column": frozenset({"rosepo"}),
    "clip": frozenset({"p3o"}),
    "clip_range": frozenset({"p3o"}),
    "kl_weight": frozenset({"p3o"}),
}
"""Name in TrainConfig -> the objectives that read it; what is not here all read."""


def list_unread(train: TrainConfig) -> set[str]:
    """The names in READ_BY that this training's objective does not read."""
    return {name for name, readers in READ_BY.items() if train.objective not in readers}
