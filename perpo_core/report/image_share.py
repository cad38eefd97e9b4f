"""How much of a gain needs the image, in a line, in warnings and in a table (docs/probes.md).

Told by the shuffled image, and where no sample has another one by the grey one. A crop shows some
of the image still: it is in the table only. Shares are shown between 0% and 100%; report.json has
them as they were computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perpo_core.perception.tasks import TASKS
from perpo_core.report.formats import format_number, format_share, format_signed
from schemas.base import TaskName
from schemas.probing import WAYS, ImageProbe, ProbeWay

ByTask = Mapping[TaskName, Mapping[ProbeWay, ImageProbe]]
TELLING: tuple[ProbeWay, ...] = ("shuffled", "blank")
LABELS: Mapping[ProbeWay, str] = {
    "shuffled": "another sample's (shuffled)", "blank": "grey", "cropped": "a small crop",
}  # fmt: skip
WITH: Mapping[ProbeWay, str] = {"shuffled": "a shuffled", "blank": "a grey"}


@dataclass(frozen=True)
class ProbeRow:
    """One task and image; texts."""

    task: TaskName
    num_rows: int
    """Rows of the task, in its first row; 0 in the others."""
    label: str
    base: str
    trained: str
    gain: str
    interval: str
    share: str
    share_interval: str
    n: int


def describe_image_probe(by_task: ByTask, least: float) -> str | None:
    """The line of a report: of the first task that has a share, else of the first task.

    None where nothing was probed.
    """
    told = [(task, *found) for task in TASKS if (found := _find_telling(by_task.get(task, {})))]
    if not told:
        return None
    with_share = [each for each in told if each[2].needs_image is not None]
    return _describe(*(with_share or told)[0], least)


def find_image_warnings(by_task: ByTask, least: float) -> list[str]:
    """One for each task of whose gain surely less than `least` needs the image."""
    return [
        f"of the gain in {TASKS[task].label} reward only {_say_share(probe)}, less than "
        f"evaluate.min_image_share, {format_share(least)}: the policy may have learned which "
        "answers are likely, whatever is shown"
        for task in TASKS
        if (found := _find_telling(by_task.get(task, {})))
        for probe in [found[1]]
        if probe.needs_image_high is not None and probe.needs_image_high < least
    ]


def build_probe_rows(by_task: ByTask) -> list[ProbeRow]:
    """Tasks in their usual order, of each the right image first."""
    rows = []
    for task in TASKS:
        measured = {way: p for way in WAYS if (p := by_task.get(task, {}).get(way)) and p.n}
        for number, (way, probe) in enumerate(measured.items()):
            if number == 0:
                rows.append(_build_right_row(task, probe, len(measured) + 1))
            rows.append(_build_row(task, way, probe))
    return rows


def _find_telling(probes: Mapping[ProbeWay, ImageProbe]) -> tuple[ProbeWay, ImageProbe] | None:
    """The way that tells, and what it says."""
    return next(((way, probes[way]) for way in TELLING if way in probes and probes[way].n), None)


def _describe(task: TaskName, way: ProbeWay, probe: ImageProbe, least: float) -> str:
    assert probe.gain is not None and probe.gain_right is not None
    label, gain = TASKS[task].label, format_signed(probe.gain)
    right = format_signed(probe.gain_right)
    if probe.needs_image is not None:
        return (
            f"Of the gain in {label} reward ({right}), {_say_share(probe)}: with {WITH[way]} image "
            f"it is {gain}; at least {format_share(least)} is wanted."
        )
    interval = _say_interval(probe.gain_right_low, probe.gain_right_high)
    return (
        f"How much of a gain in {label} reward needs the image cannot be told: on the "
        f"{probe.n:,} probed test samples it is {right} ({interval}) with the right image, not "
        f"surely above zero, and {gain} with {WITH[way]} one."
    )


def _say_share(probe: ImageProbe) -> str:
    """Such as "96% needs the image (84% to 100%)"."""
    share, interval = _show_share(probe)
    return f"{share} needs the image ({interval})"


def _show_share(probe: ImageProbe) -> tuple[str, str]:
    """The share and its interval; nothing but words where there is none."""
    low, high = probe.needs_image_low, probe.needs_image_high
    if probe.needs_image is None or low is None or high is None:
        return "cannot be told", ""
    return format_share(probe.needs_image), f"{format_share(low)} to {format_share(high)}"


def _say_interval(low: float | None, high: float | None) -> str:
    assert low is not None and high is not None
    return f"{format_signed(low)} to {format_signed(high)}"


def _build_right_row(task: TaskName, probe: ImageProbe, num_rows: int) -> ProbeRow:
    numbers = probe.base_right, probe.trained_right
    gain = probe.gain_right, probe.gain_right_low, probe.gain_right_high
    return ProbeRow(task, num_rows, "the right one", *_show(numbers, gain), "", "", probe.n)


def _build_row(task: TaskName, way: ProbeWay, probe: ImageProbe) -> ProbeRow:
    gain = probe.gain, probe.gain_low, probe.gain_high
    texts = _show((probe.base, probe.trained), gain)
    return ProbeRow(task, 0, LABELS[way], *texts, *_show_share(probe), probe.n)


def _show(
    numbers: tuple[float | None, float | None],
    gain: tuple[float | None, float | None, float | None],
) -> tuple[str, str, str, str]:
    """Base, trained, gain and its interval."""
    base, trained = (format_number(value) for value in numbers if value is not None)
    assert gain[0] is not None
    return base, trained, format_signed(gain[0]), _say_interval(*gain[1:])
