"""Images that collect scales down so far that what is asked about them can no longer be seen."""

from __future__ import annotations

from collections.abc import Iterator

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.naming import describe_rows
from perpo_core.perception.tasks import TASKS
from perpo_core.stages.collect.sources.rows import SampleRow
from perpo_core.vision.images import compute_scaled_size
from schemas.sources import RowsSource

THINNEST_SIDE = 8  # pixels of an image as it is


def check_scaling(source: RowsSource, rows: list[SampleRow]) -> Iterator[Finding]:
    """What source.max_image_side makes of each row's image; one finding a kind of harm."""
    limit = source.max_image_side
    advice = f"cut the image into pieces or raise source.max_image_side ({limit})"
    found: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        harm = _find_harm(row, limit)
        if harm:
            found.setdefault(harm[0], []).append((row["row"], harm[1]))
    for kind, of_kind in found.items():
        what_to_do = "is that the right image?" if kind == "thin" else advice
        yield Finding("warning", f"source: {describe_rows(of_kind, what_to_do)}")


def _find_harm(row: SampleRow, limit: int) -> tuple[str, str] | None:
    """(kind, what happens to the row's image), or None."""
    width, height = size = row["width"], row["height"]
    small = compute_scaled_size(size, limit)
    if small == size:
        if min(size) < THINNEST_SIDE:
            return "thin", f"has an image of {width}x{height}, where hardly anything can be seen"
        return None
    scaled = f"is scaled from {width}x{height} to {small[0]}x{small[1]}"
    harm = TASKS[row["task"]].find_harm(row["target"], size, small)
    return (harm[0], f"{scaled}, {harm[1]}") if harm else None
