"""Scenes composed from real handwritten digits: grounding, dense OCR and counting.

The 1,797 8x8 digits that scikit-learn ships (UCI optical recognition of handwritten digits) are
split by source digit, so that no digit drawn in a test scene was ever seen in training. A scene
places them with varied size, position, contrast, background and clutter; every answer is exact by
construction. Scene i of a split depends on (seed, split, i) alone, never on how many there are.

Left out: overlapping digits, and anything that would make a truth ambiguous (an extreme must beat
the runner-up by a visible margin).
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from perpo_core.perception.boxes import Box
from schemas.base import Split
from schemas.sources import DIGITS_TASKS, DigitsTask

SPLIT_SHARES = {"train": 0.6, "selection": 0.075, "validation": 0.075, "test": 0.25}
SPLIT_CODES = {"train": 0, "validation": 1, "test": 2, "selection": 3}  # seeds of scenes: they stay
SIDE = 96  # pixels of a scene's edge
EXTREME_MARGIN = 4  # pixels by which the leftmost, largest, ... must beat the runner-up

GROUNDING_PROMPTS = ("Where is {}?", "Locate {}.", "Find {}.", "Give the bounding box of {}.")
OCR_PROMPTS = (
    "Read all the text in this image.",
    "What digits are written here?",
    "Write out every row of digits.",
)
COUNT_PROMPTS = ("How many {} are there?", "Count the {}.", "What is the number of {}?")


@dataclass(frozen=True)
class Placed:
    """One digit in a scene: its value and tight pixel box (x1, y1, x2, y2), x2 and y2 exclusive."""

    value: int
    box: tuple[int, int, int, int]

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def height(self) -> int:
        return self.box[3] - self.box[1]


# What each superlative maximises.
EXTREMES: dict[str, Callable[[Placed], float]] = {
    "leftmost": lambda digit: -digit.centre[0],
    "rightmost": lambda digit: digit.centre[0],
    "topmost": lambda digit: -digit.centre[1],
    "bottommost": lambda digit: digit.centre[1],
    "largest": lambda digit: digit.height,
    "smallest": lambda digit: -digit.height,
}


@dataclass(frozen=True)
class Question:
    """One prompt about a scene with its truth: a box (0-1), a text or a count."""

    task: DigitsTask
    prompt: str
    target: Box | str | int


@dataclass(frozen=True)
class Scene:
    """An RGB image, the digits in it, and everything that can be asked about them."""

    image: Image.Image
    placed: list[Placed]
    questions: list[Question]


@functools.cache
def load_digits_by_split() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split -> (images [N, 8, 8] in 0-1, values [N]); the source digits of splits are disjoint."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(20250205).permutation(len(digits.target))
    bounds = (np.cumsum(list(SPLIT_SHARES.values())) * len(order)).astype(int)[:-1]
    parts = np.split(order, bounds)
    return {
        split: (digits.images[part] / 16.0, digits.target[part])
        for split, part in zip(SPLIT_SHARES, parts, strict=True)
    }


def compose_scenes(
    split: Split, task: DigitsTask, count: int, seed: int, questions_per_scene: int = 1
) -> Iterator[Scene]:
    """Scenes 0..count-1 of one split and task, each with up to `questions_per_scene` questions."""
    for index in range(count):
        yield compose_scene(split, task, index, seed, questions_per_scene)


def compose_scene(
    split: Split, task: DigitsTask, index: int, seed: int, questions_per_scene: int = 1
) -> Scene:
    """Scene `index` of one split and task; the same arguments always give the same scene."""
    task_code = DIGITS_TASKS.index(task)
    rng = np.random.default_rng([seed, SPLIT_CODES[split], task_code, index])
    canvas, ink = _draw_background(rng)
    if task == "ocr":
        rows = _place_rows(rng, split, canvas, ink)
        placed = [digit for row in rows for digit in row]
        questions = [_ask_ocr(rng, rows)]
    else:
        placed = _place_scattered(rng, split, canvas, ink)
        ask = _ask_grounding if task == "grounding" else _ask_counting
        questions = ask(rng, placed)
    _draw_noise(rng, canvas)
    order = rng.permutation(len(questions))[:questions_per_scene]
    pixels = (np.clip(canvas, 0, 1) * 255).round().astype(np.uint8)
    return Scene(Image.fromarray(pixels), placed, [questions[i] for i in order])


def encode_png(image: Image.Image) -> bytes:
    """The image as PNG bytes, the same bytes for the same pixels."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def _draw_background(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(canvas [SIDE, SIDE, 3], ink colour [3]): paper with a gradient, and ink that stands out."""
    dark_on_light = rng.random() < 0.7
    paper = rng.uniform(0.65, 1.0, 3) if dark_on_light else rng.uniform(0.0, 0.3, 3)
    contrast = rng.uniform(0.4, 0.65)
    ink = np.clip(paper - contrast if dark_on_light else paper + contrast, 0, 1)
    ramp = np.linspace(-0.5, 0.5, SIDE)
    slope_x, slope_y = rng.uniform(-0.15, 0.15, 2)
    shade = slope_x * ramp[None, :] + slope_y * ramp[:, None]
    canvas = paper[None, None, :] + shade[:, :, None]
    for _ in range(rng.integers(0, 4)):
        _draw_clutter_line(rng, canvas, ink)
    return canvas, ink


def _draw_clutter_line(rng: np.random.Generator, canvas: np.ndarray, ink: np.ndarray) -> None:
    """A faint straight stroke from edge to edge, as ruled paper or a scratch."""
    start, stop = rng.uniform(0, SIDE, 2)
    along = np.arange(SIDE)
    across = np.clip(np.linspace(start, stop, SIDE).astype(int), 0, SIDE - 1)
    rows, columns = (across, along) if rng.random() < 0.5 else (along, across)
    strength = rng.uniform(0.1, 0.35)
    canvas[rows, columns] = (1 - strength) * canvas[rows, columns] + strength * ink


def _draw_noise(rng: np.random.Generator, canvas: np.ndarray) -> None:
    canvas += rng.normal(0, rng.uniform(0.0, 0.05), (SIDE, SIDE, 1))


def _draw_digit(
    rng: np.random.Generator,
    split: Split,
    canvas: np.ndarray,
    ink: np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int],
) -> Placed:
    """Draw one random source digit at corner (x, y) with size (width, height) pixels."""
    images, values = load_digits_by_split()[split]
    chosen = rng.integers(len(values))
    glyph = Image.fromarray((images[chosen] * 255).astype(np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    alpha = np.asarray(glyph, dtype=np.float64) / 255
    x, y = corner
    patch = canvas[y : y + size[1], x : x + size[0]]
    patch[:] = (1 - alpha[:, :, None]) * patch + alpha[:, :, None] * ink
    inked_y, inked_x = np.nonzero(alpha > 0.25)
    box = (x + inked_x.min(), y + inked_y.min(), x + inked_x.max() + 1, y + inked_y.max() + 1)
    return Placed(int(values[chosen]), tuple(int(v) for v in box))  # type: ignore[arg-type]


def _place_scattered(
    rng: np.random.Generator, split: Split, canvas: np.ndarray, ink: np.ndarray
) -> list[Placed]:
    """Two to six digits of varied size, not overlapping."""
    placed: list[Placed] = []
    taken: list[tuple[int, int, int, int]] = []
    wanted = int(rng.integers(2, 7))
    for _ in range(60):
        if len(placed) == wanted:
            break
        height = int(rng.integers(18, 41))
        width = int(height * rng.uniform(0.8, 1.1))
        x, y = (int(rng.integers(0, SIDE - extent + 1)) for extent in (width, height))
        frame = (x, y, x + width, y + height)
        if any(_overlaps(frame, other) for other in taken):
            continue
        taken.append(frame)
        placed.append(_draw_digit(rng, split, canvas, ink, (x, y), (width, height)))
    return placed


def _overlaps(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _place_rows(
    rng: np.random.Generator, split: Split, canvas: np.ndarray, ink: np.ndarray
) -> list[list[Placed]]:
    """One to three rows of two to five digits each, left to right, as handwriting on a page."""
    num_rows = int(rng.integers(1, 4))
    pitch = SIDE // num_rows
    height = min(pitch - 4, int(rng.integers(20, 31)))
    rows = []
    for row in range(num_rows):
        num_digits = int(rng.integers(2, 6))
        width = min(int(height * rng.uniform(0.7, 0.95)), SIDE // num_digits)
        x = int(rng.integers(0, SIDE - width * num_digits + 1))
        y_slack = pitch - height
        drawn = []
        for _ in range(num_digits):
            y = row * pitch + int(rng.integers(y_slack // 4, max(y_slack // 4 + 1, y_slack // 2)))
            drawn.append(_draw_digit(rng, split, canvas, ink, (x, y), (width, height)))
            x += width
        rows.append(drawn)
    return rows


def _ask_ocr(rng: np.random.Generator, rows: list[list[Placed]]) -> Question:
    text = "\n".join("".join(str(digit.value) for digit in row) for row in rows)
    return Question("ocr", str(rng.choice(OCR_PROMPTS)), text)


def _ask_grounding(rng: np.random.Generator, placed: list[Placed]) -> list[Question]:
    """Every expression that picks exactly one digit of the scene."""
    questions = []
    for expression, digit in _refer(placed):
        prompt = str(rng.choice(GROUNDING_PROMPTS)).format(expression)
        box = tuple(value / SIDE for value in digit.box)
        questions.append(Question("grounding", prompt, box))  # type: ignore[arg-type]
    return questions


def _refer(placed: list[Placed]) -> Iterator[tuple[str, Placed]]:
    """(expression, the digit it means): by value alone where unique, else by an extreme."""
    for value in sorted({digit.value for digit in placed}):
        same = [digit for digit in placed if digit.value == value]
        if len(same) == 1:
            yield f"the {value}", same[0]
        else:
            yield from _refer_by_extreme(same, str(value))
    if len(placed) > 1:
        yield from _refer_by_extreme(placed, "digit")


def _refer_by_extreme(group: list[Placed], noun: str) -> Iterator[tuple[str, Placed]]:
    for word, measure in EXTREMES.items():
        best, second = sorted(group, key=measure, reverse=True)[:2]
        if measure(best) - measure(second) >= EXTREME_MARGIN:
            yield f"the {word} {noun}", best


def _ask_counting(rng: np.random.Generator, placed: list[Placed]) -> list[Question]:
    """How many digits in all, how many of one value present, and of one value absent."""
    values = [digit.value for digit in placed]
    absent = int(rng.choice([value for value in range(10) if value not in values]))
    nouns = [("digits", len(values)), (f"{absent}s", 0)]
    nouns += [(f"{value}s", values.count(value)) for value in sorted(set(values))]
    return [
        Question("counting", str(rng.choice(COUNT_PROMPTS)).format(noun), count)
        for noun, count in nouns
    ]
