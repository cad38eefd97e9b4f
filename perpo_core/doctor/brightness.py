"""Images in which nothing can be seen, though they decode: nearly black, nearly white, flat."""

from __future__ import annotations

from collections.abc import Iterator

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.naming import describe_rows
from perpo_core.stages.collect.sources.rows import SampleRow
from perpo_core.vision.brightness import Brightness

NEARLY = 32  # of 255: a screen shows hardly more than black below, or than white as far from it
DARK = 64  # of 255: a quarter of the range, as 14 of 16 bits are
CONTRAST = 8  # of 255: between the darkest and the brightest
ADVICE = {
    "depth": "16-bit numbers are taken by their full scale, so write them over all of it "
    "(12 bits: times 16)",
    "range": "numbers without a full scale are taken by their own range, so clip what lies far out",
    "look": "is that the right image?",
}


def check_brightness(rows: list[SampleRow]) -> Iterator[Finding]:
    """One finding a kind of image that shows hardly anything."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in rows:
        fault = describe_brightness(row["noted"].brightness) if _has_something(row) else None
        if fault:
            found.setdefault(fault[:2], []).append((row["row"], fault[2]))
    for (advice, _), of_kind in found.items():
        yield Finding("warning", f"source: {describe_rows(of_kind, ADVICE[advice])}")


def _has_something(row: SampleRow) -> bool:
    """Whether the truth says that there is something to see: no blank page, no count of 0."""
    target = row["target"]
    return any(target.get(key) for key in ("box", "boxes", "text", "count"))


def describe_brightness(found: Brightness) -> tuple[str, str, str] | None:
    """(advice, kind, what is the matter) of an image that shows hardly anything, or None."""
    darkest, brightest = found.darkest, found.brightest
    if found.num_bits == 16 and brightest <= DARK:
        how = "nearly black" if brightest <= NEARLY else "dark"
        share = f"{brightest / 255:.0%}" if brightest > 1 else "less than 1%"
        what = f"uses {share} of its 16-bit range and is {how} (brightest {brightest} of 255)"
        return "depth", "dark", what
    if found.colour is not None:
        return "look", "flat", f"is one flat colour, {found.colour}: nothing can be seen"
    advice, most = "look", ""
    if found.num_bits != 8:
        most = ", a few pixels aside"
    if found.num_bits == 0:
        advice = "range"
    if brightest <= NEARLY:
        return advice, "dark", f"is nearly black (brightest {brightest} of 255{most})"
    if darkest >= 255 - NEARLY:
        return advice, "white", f"is nearly white (darkest {darkest} of 255{most})"
    if brightest - darkest <= CONTRAST:
        return advice, "grey", f"has hardly any contrast ({darkest} to {brightest} of 255{most})"
    return None
