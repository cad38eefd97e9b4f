"""Where prompts and truths come from: the sections of `[source]`, one a kind.

All but the digits are files of rows, in some format, which is converted as it is read
(docs/data.md, docs/import.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.base import BoxFormatName, Section, Split, TaskName

DigitsTask = Literal["grounding", "ocr", "counting"]
DIGITS_TASKS: tuple[DigitsTask, ...] = ("grounding", "ocr", "counting")


class DigitsSource(Section):
    """Scenes composed from real handwritten digits; nothing is downloaded."""

    kind: Literal["digits"] = "digits"
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the scenes."""
    train: dict[DigitsTask, Annotated[int, Field(ge=0, le=1_000_000)]] = {
        "grounding": 1280,
        "ocr": 256,
        "counting": 256,
    }
    """Training prompts by task."""
    selection: dict[DigitsTask, Annotated[int, Field(ge=0, le=1_000_000)]] = {
        "grounding": 384,
        "ocr": 128,
        "counting": 128,
    }
    """Selection prompts by task: they choose the checkpoint."""
    validation: dict[DigitsTask, Annotated[int, Field(ge=0, le=1_000_000)]] = {
        "grounding": 384,
        "ocr": 128,
        "counting": 128,
    }
    """Validation prompts by task: the promotion gates, and nothing else."""
    test: dict[DigitsTask, Annotated[int, Field(ge=0, le=1_000_000)]] = {
        "grounding": 2048,
        "ocr": 512,
        "counting": 512,
    }
    """Test prompts by task: the report."""


class RowsSource(Section):
    """One's own images and truths, whatever format their files have (README, "Your own data")."""

    kind: str
    files: list[Path] = Field(min_length=1)
    """Files of rows; relative paths are relative to the configuration file."""
    images: Path | None = None
    """Folder of the images; left out: each file's own."""
    validation_share: float = Field(default=0.15, ge=0, le=0.5)
    """Share of the images that become validation, where a row names no split."""
    selection_share: float = Field(default=0.5, ge=0, le=0.9)
    """Share of the validation images that become selection: they choose the checkpoint, so that the
    gates look at images that chose nothing. Named validation is divided too, unless a row names
    selection."""
    test_share: float = Field(default=0.25, ge=0, le=0.9)
    """Share of the images that become test, where a row names no split."""
    on_bad_row: Literal["fail", "drop"] = "fail"
    """fail: the first bad row ends the run, named; drop: bad rows are counted and set aside."""
    several_truths: Literal["best", "each"] = "best"
    """What a list in the place of a truth means. best: an answer counts as it does against the
    truth that it is closest to; each: every truth is a sample, and gives a list, of its own."""
    max_image_megapixels: float = Field(default=100.0, gt=0, le=1000)
    """Larger images are refused before they are decoded."""
    max_image_side: int = Field(default=2048, ge=16, le=16384)
    """Pixels; longer images are scaled down once, on the way in; boxes are relative and stay."""


class JsonlSource(RowsSource):
    """JSON Lines, one sample a line."""

    kind: Literal["jsonl"] = "jsonl"


class ConvertedSource(RowsSource):
    """Files that are converted into JSON Lines rows as they are read (docs/import.md)."""

    files: list[Path] = Field(min_length=1)
    """Files, or folders, of records; relative paths are relative to the configuration file.
    hub:OWNER/NAME is a data set in the local hub cache."""
    splits: dict[str, Split] = {}
    """Pattern -> split, as { "*val2017*" = "test" }: of what a record says of its split, or else of
    the name of the file it is in. The first one that fits counts."""
    prompt: str | None = Field(default=None, min_length=1)
    """The question, with names of the format's own in braces; left out: the format's usual one."""
    licence: str = ""
    """Of records that name none; it travels along, into the model card too."""
    ignore: list[str] = []
    """Keys of records that are knowingly left out, though they might change what is asked."""


class CocoSource(ConvertedSource):
    """COCO annotations: boxes by category, or captions."""

    kind: Literal["coco"] = "coco"
    task: Literal["grounding", "detection", "counting", "vqa"] = "grounding"
    """grounding: a row for each annotation that is alone of its category in its image; detection,
    counting: one for each image and category in it; vqa: one for each image, whose captions are all
    accepted answers. prompt may hold {category}."""


class RefcocoSource(ConvertedSource):
    """Referring expressions of RefCOCO, RefCOCO+ and RefCOCOg, with their official splits."""

    kind: Literal["refcoco"] = "refcoco"
    instances: Path | None = None
    """instances.json beside refs(unc).p; left out: that of the same folder."""

    @model_validator(mode="after")
    def _check_prompt(self) -> RefcocoSource:
        _require_slot(self.prompt, "{expression}")
        return self


class ChatSource(ConvertedSource):
    """Conversations whose last answer is the truth."""

    task: TaskName = "vqa"
    """The task of records that name none."""
    box_format: BoxFormatName = "norm1"
    """How their answers write boxes, where no objects are given beside them."""
    turns: Literal["last", "each"] = "last"
    """Of a conversation with several answers. last: the last one is the truth, and what precedes it
    is shown; each: every answer is, of a row of its own."""

    @model_validator(mode="after")
    def _check_prompt(self) -> ChatSource:
        if self.prompt is not None:
            raise ValueError(
                f'prompt = "{self.prompt}" is not read: a conversation has its own question; '
                "remove it"
            )
        return self


class LlavaSource(ChatSource):
    """LLaVA's and ShareGPT's conversations (from, value)."""

    kind: Literal["llava"] = "llava"


class MessagesSource(ChatSource):
    """OpenAI's messages (role, content), ms-swift's images and objects beside them."""

    kind: Literal["messages"] = "messages"


class ParquetSource(ConvertedSource):
    """Parquet files, and folders that datasets has saved."""

    kind: Literal["parquet"] = "parquet"
    task: TaskName | None = None
    """The task of records that name none."""
    columns: dict[str, str] = {}
    """Key of a row -> the column it comes from, with dots into nested ones, as
    { prompt = "question", answer = "answers.text.0" }. Columns named as a key need no line. prompt
    of the source may hold columns in braces."""
    boxes: Literal["xyxy", "xywh"] = "xyxy"
    """What four numbers of a box are: two corners, or a corner with width and height."""


class FolderSource(ConvertedSource):
    """A folder of page images with their text beside them: .txt, hOCR or PAGE XML."""

    kind: Literal["folder"] = "folder"


class PerpoJsonSource(ConvertedSource):
    """Lists of the official PerPO code: their prompts and truths, without their answers."""

    kind: Literal["perpo-json"] = "perpo-json"
    task: TaskName | None = None
    """The task of records that name none; left out: grounding where answer is four numbers, else
    ocr."""

    @model_validator(mode="after")
    def _check_prompt(self) -> PerpoJsonSource:
        _require_slot(self.prompt, "{question}")
        return self


def _require_slot(prompt: str | None, slot: str) -> None:
    if prompt is not None and slot not in prompt:
        raise ValueError(f'prompt = "{prompt}" lacks {slot}; put it where it goes')


Source = (
    DigitsSource
    | JsonlSource
    | CocoSource
    | RefcocoSource
    | LlavaSource
    | MessagesSource
    | ParquetSource
    | FolderSource
    | PerpoJsonSource
)
PATH_KEYS = ("images", "instances")
"""Keys of a source that hold one path, beside files."""
HUB = "hub:"
"""Before the id of a data set in the local hub cache, among files."""
