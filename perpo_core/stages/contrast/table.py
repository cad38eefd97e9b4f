"""The artifact's rows: by how much the better policy finds each token likelier than the worse."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perpo_core.store.atomic import temporary_beside
from schemas.arrow import TOKEN_VALUES


def write_difference(better: Path, worse: Path, path: Path) -> None:
    """Row by row, of two parts of the same lists; float32, nats."""
    minuend, subtrahend = (pq.read_table(part, schema=TOKEN_VALUES) for part in (better, worse))
    assert minuend["sample_id"].equals(subtrahend["sample_id"])
    answers = minuend["values"].combine_chunks()
    tokens = answers.flatten()
    other = subtrahend["values"].combine_chunks().flatten().flatten()
    values = pc.subtract(tokens.flatten(), other)
    nested = pa.ListArray.from_arrays(
        answers.offsets, pa.ListArray.from_arrays(tokens.offsets, values)
    )
    table = pa.table({"sample_id": minuend["sample_id"], "values": nested}, schema=TOKEN_VALUES)
    with temporary_beside(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
