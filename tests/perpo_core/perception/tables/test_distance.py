"""Distances of trees against the package apted, the reference implementation in Python."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from apted import APTED, Config
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.perception.tables import compute_tree_distance


@dataclass
class Node:
    label: float
    children: list[Node] = field(default_factory=list)


class Costs(Config):
    valuecls = float

    def rename(self, node1: Node, node2: Node) -> float:
        return abs(node1.label - node2.label)


NODES = st.recursive(
    st.builds(Node, st.integers(0, 4).map(lambda quarter: quarter / 4)),
    lambda inside: st.builds(
        Node, st.integers(0, 4).map(lambda quarter: quarter / 4), st.lists(inside, max_size=4)
    ),
    max_leaves=14,
)


def flatten(node: Node) -> tuple[list[float], list[int]]:
    labels: list[float] = []
    lefts: list[int] = []

    def add(node: Node) -> None:
        left = len(labels)
        for child in node.children:
            add(child)
        labels.append(node.label)
        lefts.append(left)

    add(node)
    return labels, lefts


def compute_distance(a: Node, b: Node) -> float:
    (labels_I, lefts_I), (labels_J, lefts_J) = flatten(a), flatten(b)
    renames_IJ = np.abs(np.subtract.outer(labels_I, labels_J))
    return compute_tree_distance(np.array(lefts_I), np.array(lefts_J), renames_IJ)


@given(NODES, NODES)
@settings(deadline=None)  # apted may take long
def test_it_is_what_apted_says(a: Node, b: Node) -> None:
    expected = APTED(a, b, Costs()).compute_edit_distance()
    assert compute_distance(a, b) == pytest.approx(expected, abs=1e-9)


@given(NODES, NODES)
def test_equal_trees_are_0_apart_and_others_as_far_either_way(a: Node, b: Node) -> None:
    assert compute_distance(a, a) == 0
    assert compute_distance(a, b) == pytest.approx(compute_distance(b, a), abs=1e-9)


def test_four_hundred_cells_take_no_minute() -> None:
    rng = np.random.default_rng(0)

    def build(num_rows: int, num_columns: int) -> Node:
        rows = [[Node(rng.random()) for _ in range(num_columns)] for _ in range(num_rows)]
        return Node(0, [Node(1, list(row)) for row in rows])

    started = time.process_time()
    assert 0 < compute_distance(build(40, 10), build(41, 10)) < 452
    assert time.process_time() - started < 5  # 0.3 s where nothing else runs; apted: a minute
