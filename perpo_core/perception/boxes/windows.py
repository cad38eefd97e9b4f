"""Where the original image lies in a format's numbers: left, top, right, bottom."""

from __future__ import annotations

from collections.abc import Callable

from perpo_core.perception.boxes.geometry import Frame
from perpo_core.perception.coordinates import Numbers

Window = Callable[[Frame], Numbers]


def scale_to(side: float) -> Window:
    """The image stretched to a square of this side, whatever its shape."""
    return lambda frame: (0.0, 0.0, side, side)


def pad_to(side: float) -> Window:
    """The image padded, centred, to a square of this side."""

    def compute_window(frame: Frame) -> Numbers:
        longest = max(frame.width, frame.height)
        left, top = (
            (longest - length) / 2 / longest * side for length in (frame.width, frame.height)
        )
        return (
            left, top,
            left + frame.width / longest * side, top + frame.height / longest * side,
        )  # fmt: skip

    return compute_window


def quantize_to(bins: int) -> Window:
    """The image cut into so many bins each way; a bin's number stands for its centre."""
    return lambda frame: (-0.5, -0.5, bins - 0.5, bins - 0.5)


def compute_pixels(frame: Frame) -> Numbers:
    """Pixels of the original image."""
    return 0.0, 0.0, float(frame.width), float(frame.height)


def compute_resized_pixels(frame: Frame) -> Numbers:
    """Pixels of the image as the model saw it; ValueError where that size is not known."""
    if frame.resized_width is None or frame.resized_height is None:
        raise ValueError(
            "box format pixels_resized needs the size of the image as the model saw it, "
            "and this policy's image processor does not tell it"
        )
    return 0.0, 0.0, float(frame.resized_width), float(frame.resized_height)
