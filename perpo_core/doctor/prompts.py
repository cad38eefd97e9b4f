"""Every prompt against the policy that shall answer it: its special tokens, its length, its image.

The rows are those of the source, or of its samples in the store, so that another policy or a
smaller policy.max_model_len is held against them too. Nothing is asked where the store has this
policy's answers to them under the same settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.lengths import check_lengths
from perpo_core.doctor.texts import check_texts
from perpo_core.stages import generate
from perpo_core.stages.collect.sources.rows import SampleRow
from perpo_core.stages.samples import list_sample_files, read_samples
from perpo_core.store.open import open_store
from perpo_core.store.packs import read_facts
from perpo_core.store.store import Store
from schemas.artifact import SampleSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef

COLUMNS = ["row", "task", "split", "prompt", "target", "images"]


def check_prompts(
    config: RefreshConfig, policy_folder: Path, rows: list[SampleRow]
) -> Iterator[Finding]:
    """Of rows without their images; `policy_folder` is a sound one."""
    yield from check_texts(config, policy_folder, rows)
    yield from check_lengths(config, policy_folder, rows)


def check_collected(
    config: RefreshConfig, samples: SampleSet, policy_folder: Path, policy_digest: str | None
) -> Iterator[Finding]:
    """Of samples in the store; a policy without a digest has answered nothing."""
    if policy_digest and _is_answered(
        config, samples, PolicyRef(digest=policy_digest, folder=policy_folder)
    ):
        yield Finding("ok", "prompts: this policy has answered them under these settings")
        return
    store = open_store(config.store)
    try:
        there = all(path.is_file() for path in store.paths(samples))
        rows = _read_rows(store, samples) if there else []
    except (OSError, pa.ArrowException):  # damaged, which the refresh will find and mend
        rows = []
    if not rows:
        yield Finding("ok", "prompts: their samples are not on this machine yet, nor their lengths")
    yield from check_prompts(config, policy_folder, rows)


def _read_rows(store: Store, samples: SampleSet) -> list[SampleRow]:
    """The samples with the sizes of their images."""
    size_of = {
        image.image_hash: (image.width, image.height)
        for pack in list_sample_files(store, samples).packs
        for _, image in read_facts(pack)
    }
    rows: list[SampleRow] = read_samples(store, samples, COLUMNS).to_pylist()
    return [row | {"sizes": [size_of[name] for name in row["images"]]} for row in rows]


def _is_answered(config: RefreshConfig, samples: SampleSet, policy: PolicyRef) -> bool:
    key = generate.compute_key(config, policy, samples)
    return open_store(config.store).load(generate.KIND, key) is not None
