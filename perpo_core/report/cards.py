"""One card of a gallery: a prompt, its picture with boxes over it, and answers with rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rapidfuzz.distance import Levenshtein

from perpo_core.perception.frames import Framer
from perpo_core.perception.tasks import TASKS, Shape
from perpo_core.report.histograms import find_scale
from perpo_core.report.pictures import TEXT_LIMIT, Picture, build_picture, show_prompt, show_text
from perpo_core.stages.materialize.lists import spread_evenly
from perpo_core.store.packs import Images
from schemas.base import BoxFormatName

NUM_DRAWN_SHOWN = 2  # the ones that are drawn
MOST_DRAWN = 100  # shapes of one answer: a page stays one that a browser opens
NUM_LONG_SHOWN = 3
NUM_SHORT_SHOWN = 5
EMPTY = "(empty)"  # a blank page, and the answer that says nothing
LONG_TEXT = 60  # characters; a longer one takes several lines
Row = dict[str, Any]


@dataclass(frozen=True)
class Album:
    """What every card needs to know of the run."""

    box_format: BoxFormatName
    build_frame: Framer
    max_megapixels: float
    images: Images | None = None
    """None where the samples are gone: then no card has a picture."""


@dataclass(frozen=True)
class Drawn:
    """A box over an image, or a point, which has no width and height; in percent of the image's.

    `role` gives colour and dashes.
    """

    role: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Answer:
    """One answer: its text in pieces (text, does it differ from the truth?), and its reward."""

    role: str
    """best, worst or middle in a list; base or trained in a comparison."""
    label: str
    pieces: list[tuple[str, bool]]
    reward: float | None
    problem: str | None = None
    """Why the answer could not be parsed."""


@dataclass(frozen=True)
class Card:
    """One prompt of a gallery."""

    task: str
    sample_id: str
    prompt: str
    truth: str
    """As text; empty where it is drawn."""
    pictures: list[Picture]
    """Of the prompt's images, in order; none where the samples are gone."""
    drawn_on: int
    """Which of them, from 0, the shapes lie in."""
    shapes: list[Drawn]
    answers: list[Answer]
    rewards: list[float]
    """Of every answer of a list, best first; empty in a comparison."""
    places: list[float]
    """Where each lies on its line, in 0-1 from left to right."""
    gap: float
    """Best minus worst, or trained minus base."""


def build_list_card(row: Row, album: Album) -> Card:
    """A row of schemas.arrow.PREFERENCES: best and worst of a list, and some in between."""
    responses = sorted(row["responses"], key=lambda response: response["rank"])
    texts = {"best": responses[0]["text"], "worst": responses[-1]["text"]}
    answers = [
        Answer(
            "best" if index == 0 else "worst" if index == len(responses) - 1 else "middle",
            str(index + 1),
            _show_answer(row, responses[index]["text"]),
            responses[index]["reward"],
        )
        for index in spread_evenly(len(responses), _count_shown(row))
    ]
    rewards = [response["reward"] for response in responses]
    return _build_card(row, texts, album, answers, rewards, row["reward_gap"])


def build_change_card(row: Row, base: Row, trained: Row, album: Album) -> Card:
    """A row of schemas.arrow.SAMPLES with both policies' greedy predictions."""
    texts = {"base": base["text"], "trained": trained["text"]}
    answers = [
        Answer(name, name, _show_answer(row, found["text"]), found["reward"], found["error"])
        for name, found in (("base", base), ("trained", trained))
    ]
    gain = (trained["reward"] or 0.0) - (base["reward"] or 0.0)
    return _build_card(row, texts, album, answers, [], gain)


def _build_card(
    row: Row,
    texts: dict[str, str],
    album: Album,
    answers: list[Answer],
    rewards: list[float],
    gap: float,
) -> Card:
    pictures, drawn_on = _build_pictures(row, album), row["target"].get("image") or 0
    return Card(
        task=row["task"],
        sample_id=row["sample_id"],
        prompt=show_prompt(row["prompt"]),
        truth=_show_truth(row),
        pictures=pictures,
        drawn_on=drawn_on,
        shapes=_build_shapes(row, texts, album, pictures[drawn_on]) if pictures else [],
        answers=answers,
        rewards=rewards,
        places=_place(rewards),
        gap=gap,
    )


def _place(rewards: list[float]) -> list[float]:
    if not rewards:
        return []
    low, high = find_scale(rewards[-1], rewards[0])
    return [(reward - low) / (high - low) for reward in rewards]


def _build_pictures(row: Row, album: Album) -> list[Picture]:
    if album.images is None:
        return []
    where = f"the report, sample {row['sample_id']}"
    return [
        build_picture(album.images.read(image_hash), where, album.max_megapixels)
        for image_hash in row["images"]
    ]


def _count_shown(row: Row) -> int:
    task = TASKS[row["task"]]
    if task.get_shapes:
        return NUM_DRAWN_SHOWN
    is_long = len(task.get_words(row["target"])) > LONG_TEXT
    return NUM_LONG_SHOWN if is_long else NUM_SHORT_SHOWN


def _show_truth(row: Row) -> str:
    task = TASKS[row["task"]]
    return "" if task.get_shapes else show_text(task.get_words(row["target"])) or EMPTY


def _show_answer(row: Row, text: str) -> list[tuple[str, bool]]:
    """What was judged of an answer; all of it where nothing was."""
    task = TASKS[row["task"]]
    stated = task.read_words(text, row["target"])
    if not task.marks_differences or stated is None:
        return [(show_text(stated or text), False)]
    truth = task.get_words(row["target"])
    return mark_differences(truth, stated) if stated else [(EMPTY, bool(truth))]


def mark_differences(truth: str, text: str) -> list[tuple[str, bool]]:
    """The answer in pieces (text, differs from the truth); an empty one where something lacks.

    Long texts stay in one piece: they are cut, and a cut is no error.

    >>> mark_differences("7310", "710")
    [('7', False), ('', True), ('10', False)]
    """
    if max(len(truth), len(text)) > TEXT_LIMIT:
        return [(show_text(text), False)]
    shown = show_text(text)
    blocks = Levenshtein.opcodes(show_text(truth), shown)
    return [(shown[block.dest_start : block.dest_end], block.tag != "equal") for block in blocks]


def _build_shapes(row: Row, texts: dict[str, str], album: Album, picture: Picture) -> list[Drawn]:
    """What is true, then what the answers state, as far as they state something to be drawn."""
    task = TASKS[row["task"]]
    if task.get_shapes is None or task.read_shapes is None:
        return []
    frame = album.build_frame(picture.width, picture.height)
    shapes: dict[str, list[Shape]] = {"truth": task.get_shapes(row["target"])}
    for role, text in texts.items():
        shapes[role] = task.read_shapes(text, album.box_format, frame)
    return [
        draw_shape(role, shape) for role, found in shapes.items() for shape in found[:MOST_DRAWN]
    ]


def draw_shape(role: str, shape: Shape) -> Drawn:
    """A box or a point in 0-1 of the image, as it is drawn."""
    x1, y1, x2, y2 = (round(100 * value, 2) for value in (*shape, *shape)[:4])
    return Drawn(role, x1, y1, round(x2 - x1, 2), round(y2 - y1, 2))
