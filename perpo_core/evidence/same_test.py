"""Whether two sources test on the same, which has to be known before anything is trained."""

from __future__ import annotations

from perpo_core.stages.samples import read_samples
from perpo_core.store.store import Store
from schemas.artifact import SampleSet


def require_same_test(store: Store, samples: SampleSet, other: SampleSet, method: str) -> None:
    """Raise ValueError unless what a method would have in its place has the same test samples."""
    ids, others = (
        set(read_samples(store, each, ["sample_id"], ["test"])["sample_id"].to_pylist())
        for each in (samples, other)
    )
    if ids != others:
        raise ValueError(
            f"compare.methods.{method} would be tested on {len(others - ids):,} other samples and "
            f"not on {len(ids - others):,} of the {len(ids):,} that there are; only what is "
            "trained on may differ, such as source.train"
        )
