"""Box formats by name: what the four numbers of each mean, and how they stand in a text.

A new one is a line here, its name in `BoxFormatName` (schemas/base.py), its words in
perpo_core/export/usage.py and a row in docs/answers.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from perpo_core.perception.boxes.geometry import Box, Frame
from perpo_core.perception.boxes.notation import (
    BOX_2D,
    BRACES,
    CENTRE,
    LOC_XY,
    LOC_YX,
    PATCHES,
    POINTS,
    Notation,
    write_list,
)
from perpo_core.perception.boxes.patches import GRID_SIDE
from perpo_core.perception.boxes.windows import (
    Window,
    compute_pixels,
    compute_resized_pixels,
    pad_to,
    quantize_to,
    scale_to,
)
from perpo_core.perception.coordinates import Numbers


@dataclass(frozen=True)
class BoxFormat:
    """How one family of models writes a box: the text, and what its four numbers mean."""

    compute_window: Window
    """Where the original image lies in the format's numbers."""
    notation: Notation

    def write(self, box: Box, frame: Frame) -> str:
        """The text a model of this family writes for a box of the internal form."""
        left, top, right, bottom = self.compute_window(frame)
        width, height = right - left, bottom - top
        x1, y1, x2, y2 = box
        return self.notation.write(
            (left + x1 * width, top + y1 * height, left + x2 * width, top + y2 * height)
        )

    def to_internal(self, numbers: Numbers, frame: Frame) -> Box:
        """x1, y1, x2, y2 of this format in the internal form, not yet checked or clamped."""
        left, top, right, bottom = self.compute_window(frame)
        width, height = right - left, bottom - top
        x1, y1, x2, y2 = numbers
        return ((x1 - left) / width, (y1 - top) / height, (x2 - left) / width, (y2 - top) / height)

    def compute_shift(self, frame: Frame) -> tuple[float, float]:
        """How far writing moves an edge of a box at most: along x and y, in 0-1 of the image."""
        left, top, right, bottom = self.compute_window(frame)
        shift = self.notation.max_steps * 10.0**-self.notation.num_decimals
        return shift / (right - left), shift / (bottom - top)

    def compute_least_iou(self, box: Box, frame: Frame) -> float:
        """What a box and the one that is read of its text have in common at least.

        The least is left where all four edges move inwards: the box that shrinks has less in common
        with the true one than the box that grows or slides by as much.
        """
        x1, y1, x2, y2 = box
        dx, dy = self.compute_shift(frame)
        return max(0.0, 1 - 2 * dx / (x2 - x1)) * max(0.0, 1 - 2 * dy / (y2 - y1))

    def compute_canvas(self, frame: Frame) -> tuple[float, float]:
        """Largest x and y that lie on the picture; padding is centred, so it counts twice."""
        left, top, right, bottom = self.compute_window(frame)
        return left + right, top + bottom


BOX_FORMATS: dict[str, BoxFormat] = {
    # 0-1 of the original image: the built-in policy, models that stretch the image.
    "norm1": BoxFormat(scale_to(1), write_list(2)),
    # 0-1 of the image padded to a square, centred: LLaVA-1.5.
    "norm1_padded": BoxFormat(pad_to(1), write_list(2)),
    # The same as norm1, as centre and size: models tuned on YOLO's labels.
    "norm1_cxcywh": BoxFormat(scale_to(1), CENTRE),
    # Two points in percent of the image: Molmo. Before norm100, which can read them as four names:
    # where two formats score alike, the probe names the first.
    "points_percent": BoxFormat(scale_to(100), POINTS),
    # 0-100 of the original image: MiniGPT-v2.
    "norm100": BoxFormat(scale_to(100), BRACES),
    # 0-999 of the original image: DeepSeek-VL2, OFA.
    "norm999": BoxFormat(scale_to(999), write_list(0)),
    # 0-999 of the image padded to a square, centred.
    "norm999_padded": BoxFormat(pad_to(999), write_list(0)),
    # 0-1000 of the original image: Qwen2-VL, Qwen3-VL, InternVL, GLM-4.1V.
    "norm1000": BoxFormat(scale_to(1000), write_list(0)),
    # The same with y before x: Gemini and Gemma 3.
    "norm1000_yxyx": BoxFormat(scale_to(1000), BOX_2D),
    # Pixels of the original image.
    "pixels": BoxFormat(compute_pixels, write_list(0)),
    # Pixels of the image as the model saw it after resizing: Qwen2.5-VL.
    "pixels_resized": BoxFormat(compute_resized_pixels, write_list(0)),
    # Tokens of 1/1024 of the image, y before x: PaliGemma (big_vision's notebooks divide by 1024).
    "loc1024_yxyx": BoxFormat(scale_to(1024), LOC_YX),
    # Tokens of 1000 bins, each read as its centre: Florence-2 (its processor in transformers).
    "loc1000": BoxFormat(quantize_to(1000), LOC_XY),
    # Tokens of a grid's cells: Kosmos-2.
    "patch32": BoxFormat(scale_to(GRID_SIDE), PATCHES),
}
