"""The deployments of tests are those of infra/prefect.yaml: a stage of its own is not left out."""

from __future__ import annotations

import ast
from pathlib import Path

from flows.recipes.stages import STAGE_FLOWS
from tests.flows.served import TOY


def test_the_toy_deployments_have_a_flow_for_every_stage() -> None:
    """Read, not imported: the module puts toy stages in place of the real ones."""
    tree = ast.parse((Path(__file__).parents[3] / TOY).read_text())
    imported = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "flows.recipes.stages"
        for alias in node.names
    }
    assert imported == set(STAGE_FLOWS)
