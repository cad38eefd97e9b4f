"""Tables as trees: read from HTML or Markdown, and how far two are apart."""

from __future__ import annotations

from perpo_core.perception.tables.distance import compute_tree_distance
from perpo_core.perception.tables.parse import parse_table
from perpo_core.perception.tables.tree import MAX_NODES, Table, compute_table_distance

__all__ = [
    "MAX_NODES",
    "Table",
    "compute_table_distance",
    "compute_tree_distance",
    "parse_table",
]
