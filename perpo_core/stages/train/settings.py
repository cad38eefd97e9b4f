"""Settings that only some objectives or terms read: what nobody reads makes no other policy.

So they are in the key of a training only where its objective, or a term that weighs something,
reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from schemas.train_config import ObjectiveName, TrainConfig

TermWeight = Literal["degree_weight"]
Reader = ObjectiveName | TermWeight
READ_BY: Mapping[str, frozenset[Reader]] = {
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
    "degree_weight": frozenset({"degree_weight"}),
    "degrees": frozenset({"degree_weight"}),
    "degree_learning_rate": frozenset({"degree_weight"}),
}
"""Name in TrainConfig -> the objectives that read it, or the weights of terms, which do where they
are not 0; what is not here all read, as the weights of terms older than this table."""
AS_BEFORE: Mapping[str, str] = {"image": "kept"}
"""Name in TrainConfig -> the value with which a training is what it was before there was a choice,
and its key too."""


def list_unread(train: TrainConfig) -> set[str]:
    """The names in READ_BY that neither this training's objective nor a term of it reads, and
    those in AS_BEFORE that ask for nothing new."""
    readers = {train.objective, *(name for name in get_args(TermWeight) if getattr(train, name))}
    unread = {name for name, named in READ_BY.items() if not readers & named}
    return unread | {name for name, value in AS_BEFORE.items() if getattr(train, name) == value}
