"""How well the degrees of answers were told (train.degree_weight), in a sentence and a table."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.artifact import Checkpoint, Counts, DegreeReading


@dataclass(frozen=True)
class DegreeTable:
    """Shares by degree and the degree that was told."""

    sentence: str
    shares: list[list[str]]
    """[degree][told], percent of the versions of a degree."""
    numbers: list[int]
    """Versions of each degree."""


def build_degree_table(checkpoint: Checkpoint | None) -> DegreeTable | None:
    """None where no degree was told."""
    reading = checkpoint.degree_reading if checkpoint else None
    if reading is None:
        return None
    numbers = [sum(row) for row in reading.confusion]
    shares = [
        [f"{value / number:.0%}" if number else "" for value in row]
        for row, number in zip(reading.confusion, numbers, strict=True)
    ]
    return DegreeTable(f"{_say_told(reading)} {_say_lists(reading.lists)}", shares, numbers)


def _say_told(reading: DegreeReading) -> str:
    prompts, num_degrees = reading.prompts, len(reading.confusion)
    if reading.accuracy is None:
        return f"No validation prompt has a true answer with degraded versions{_why(prompts)}."
    return (
        f"The head trained with the policy tells the degree of {reading.accuracy:.1%} of "
        f"{reading.num_versions:,} versions, where chance has {1 / num_degrees:.1%}: of the true "
        f"answers to {prompts.num_kept:,} of {prompts.num_in:,} validation prompts"
        f"{_why(prompts)}, at step {reading.step:,}."
    )


def _say_lists(lists: Counts) -> str:
    return (
        f"Of {lists.num_in:,} lists that were trained on, {lists.num_kept:,} have versions of "
        f"their best answer{_why(lists)}."
    )


def _why(counts: Counts) -> str:
    """In brackets, why some have none; "" where all have some."""
    reasons = [f"{number:,} {reason}" for reason, number in counts.dropped.items()]
    return f" (without versions: {', '.join(reasons)})" if reasons else ""
