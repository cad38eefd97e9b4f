"""Samples of one split that are asked again with other images, as a sample set of its own.

    part-00000.parquet     rows (schemas.arrow.SAMPLES), one a chosen sample and way
    pack-*.parquet         grey images and crops; those of other samples stay in the parent's packs

A row is its sample with other images, all of the prompt's, so another prompt: `row` says which
sample and way it is of, image_id stays the right image's, which is what intervals count by, and
width and height are those of the image that is shown. Two samples may be one by their id, such as
the same question with the same answer about two images, both grey.
"""

from __future__ import annotations

from perpo_core.stages.probing.choosing import choose_rows
from perpo_core.stages.probing.derived import (
    NO_OTHER,
    SPLIT,
    VERSION,
    ProbedRow,
    make_probed_samples,
    read_probed,
)

__all__ = [
    "NO_OTHER", "SPLIT", "VERSION", "ProbedRow", "choose_rows", "make_probed_samples",
    "read_probed",
]  # fmt: skip
