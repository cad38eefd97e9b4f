"""What the command line prints about a store: moves of the promoted policy, what may go."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from perpo_core.housekeeping import Garbage
from perpo_core.promotion.history import Move
from perpo_core.report.tables import format_bytes
from schemas.artifact import Gate


def build_promotions_table(moves: Sequence[Move]) -> Table:
    """Every move of the promoted policy, newest last."""
    table = Table()
    for name in ("", "when", "policy", "how", "run", "checkpoint", "measured by the gates"):
        table.add_column(name)
    for move in moves:
        pointer = move.pointer
        table.add_row(
            Text("current", "bold green") if move.is_current else "",
            f"{pointer.at:%Y-%m-%d %H:%M}", pointer.policy_digest[:12], _describe_how(move),
            Text(move.run_id or "not known"), (pointer.checkpoint_key or "")[:12],
            Text("; ".join(_describe_gate(gate) for gate in move.gates)),
        )  # fmt: skip
    return table


def _describe_gate(gate: Gate) -> str:
    versus = " vs champion" if gate.against == "champion" else ""
    return f"{gate.task} {gate.metric}{versus} {gate.measured:+.4f}"


def _describe_how(move: Move) -> Text:
    if move.pointer.rolled_back:
        return Text("rolled back" + (" to the base" if move.pointer.folder is None else ""))
    how = "promoted by a person" if move.by_person else "promoted"
    return Text(f"{how}, undone" if move.is_undone else how, "dim" if move.is_undone else "")


def build_garbage_table(garbage: Sequence[Garbage]) -> Table:
    """How much goes, by kind."""
    table = Table(show_footer=True)
    total = format_bytes(sum(found.num_bytes for found in garbage))
    table.add_column("kind", footer="all")
    table.add_column("number", footer=f"{len(garbage):,}", justify="right")
    table.add_column("size", footer=total, justify="right")
    table.add_column("which")
    for kind in dict.fromkeys(found.kind for found in garbage):
        of_kind = [found for found in garbage if found.kind == kind]
        size = format_bytes(sum(found.num_bytes for found in of_kind))
        table.add_row(kind, f"{len(of_kind):,}", size, Text("; ".join(f.what for f in of_kind)))
    return table
