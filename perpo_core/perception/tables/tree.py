"""A table as a tree of sections, rows and cells, in postorder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from perpo_core.perception.tables.distance import compute_tree_distance

MAX_NODES = 2_000
"""Of a table that is compared: the time grows with the product of both, to a few seconds here."""


@dataclass(frozen=True)
class Table:
    """The nodes of a table in postorder, the table itself last."""

    labels: tuple[str, ...]
    """A node's tag, with colspan and rowspan where it is a cell; others are never alike."""
    contents: tuple[str, ...]
    """What a cell says, a tag inside it as one character; "" of all other nodes."""
    lefts: tuple[int, ...]
    """Index of a node's leftmost leaf."""
    num_elements: int
    """Below the table, those inside cells included: what TEDS divides by."""


def compute_table_distance(a: Table, b: Table, with_contents: bool = True) -> float:
    """Edit distance in nodes; cells that differ cost their edit distance over the longer length."""
    labels = {label: code for code, label in enumerate({*a.labels, *b.labels})}
    codes_I, codes_J = (np.array([labels[label] for label in t.labels]) for t in (a, b))
    renames_IJ = (codes_I[:, None] != codes_J[None, :]).astype(np.float64)
    if with_contents:
        contents_IJ = process.cdist(
            a.contents, b.contents, scorer=Levenshtein.normalized_distance, dtype=np.float64
        )
        renames_IJ = np.maximum(renames_IJ, contents_IJ)
    lefts_I, lefts_J = (np.array(t.lefts, dtype=np.intp) for t in (a, b))
    return compute_tree_distance(lefts_I, lefts_J, renames_IJ)
