"""COCO annotations as rows: boxes by category, counts of them, captions.

`bbox` is x, y, width, height in pixels of the image, which becomes x1, y1, x2, y2. COCO labels
every object of its categories, but not beyond a crowd: an annotation with iscrowd stands for an
unknown number of objects, so what is asked about that category of that image has no truth.

A caption is no text that stands in an image (ocr), and none of an image's captions is wrong: they
are accepted answers of one vqa row. A caption of the policy's own hardly ever equals one of them,
so that rewards of wording (chrf, meteor, a judge) say more than exact ones (docs/import.md).

Left out: masks, key points, panoptic segments, and categories that an image does not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from perpo_core.perception.truths.row import RowError, is_finite_number, show_value
from perpo_core.stages.collect.sources.formats.coco_index import (
    CocoIndex,
    Entry,
    Numbered,
    name_id,
    open_index,
)
from perpo_core.stages.collect.sources.formats.line import Line, PassedOver, build_line
from perpo_core.stages.collect.sources.formats.splits import find_split
from schemas.sources import CocoSource, ConvertedSource

REFERRING = (
    "Please provide the bounding box coordinates of the region this sentence describes: "
    "{expression}"
)
PROMPTS = {
    "grounding": REFERRING.replace("{expression}", "{category}"),
    "detection": "Locate every {category} in the image.",
    "counting": "How many objects of the kind {category} are in the image?",
    "vqa": "Describe the image in one sentence.",
}
DIGITS_KEPT = 6  # of a pixel: what adding two decimals leaves behind is none of the truth
Group = list[Numbered]


def iterate_lines(file: Path, config: CocoSource) -> Iterator[Line]:
    """Image by image as the file has them, then the annotations that belong to none."""
    index = open_index(file)
    for number, image, group in index.iterate_images():
        yield from _convert_image(_Image(file, config, index, number, image), group)
    for number, entry in index.iterate_strays():
        yield build_line(_label(number, entry), partial(_refuse_stray, entry))


class _Image:
    """An image of the file, and what all rows about it say."""

    def __init__(
        self, file: Path, config: CocoSource, index: CocoIndex, number: int, entry: Entry
    ) -> None:
        self.config, self.index, self.entry = config, index, entry
        own_id = entry.get("id") if isinstance(entry, dict) else None
        self.label = f"image entry {number}" if own_id is None else f"image {own_id}"
        self._file = file

    def build_row(self, category: str | None, truth: dict[str, Any]) -> dict[str, Any]:
        """Raises RowError where the image's own entry is bad."""
        row = describe_image(self.entry, self._file, self.config)
        licence = self.index.licences.get(name_id(row.pop("license", None)))
        prompt = self.config.prompt or PROMPTS[self.config.task]
        return {
            **row,
            "task": self.config.task,
            "prompt": prompt.replace("{category}", category or ""),
            "licence": licence or self.config.licence or None,
            **truth,
        }

    def name_category(self, annotation: dict[str, Any]) -> str:
        """Raises RowError."""
        given = annotation.get("category_id")
        name = self.index.categories.get(name_id(given))
        if not isinstance(name, str) or not name.strip():
            said = f" with a name: it is {show_value(name)}" if name is not None else ""
            raise RowError(
                "unknown category", f"category_id {show_value(given)} is none of the file's{said}"
            )
        return name


def describe_image(entry: Entry, file: Path, config: ConvertedSource) -> dict[str, Any]:
    """What rows say of an image of a COCO file. Raises RowError."""
    if isinstance(entry, RowError):
        raise entry
    name = entry.get("file_name")
    if not isinstance(name, str) or not name:
        raise RowError("image missing", f"file_name {show_value(name)} is no path; give one")
    return {
        "image": name,
        "width": entry.get("width"),
        "height": entry.get("height"),
        "split": find_split(entry.get("split"), file.name, config),
        "source": f"{file.name} image {entry.get('id')}",
        "license": entry.get("license"),
    }


def parse_bbox(annotation: dict[str, Any]) -> list[float]:
    """x1, y1, x2, y2 in pixels. Raises RowError."""
    bbox = annotation.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(is_finite_number, bbox)):
        said = "; give x, y, width, height in pixels, of a mask too"
        raise RowError("bad box", f"bbox {show_value(bbox)} is not four numbers{said}")
    x, y, width, height = bbox
    if width <= 0 or height <= 0:
        raise RowError("empty box", f"bbox {show_value(bbox)} (x, y, width, height) has no area")
    return [x, y, round(x + width, DIGITS_KEPT), round(y + height, DIGITS_KEPT)]


def _convert_image(image: _Image, annotations: Group) -> Iterator[Line]:
    task = image.config.task
    if task == "vqa":
        yield build_line(image.label, partial(_describe, image, annotations))
    elif task == "grounding":
        alone = _count_categories(annotations)
        for number, entry in annotations:
            yield build_line(_label(number, entry), partial(_locate, image, entry, alone))
    else:
        for category, group in _group(annotations):
            label = f"{image.label} category {category}"
            yield build_line(label, partial(_find_all, image, group))
    if not annotations and task != "vqa":
        yield build_line(image.label, partial(_pass_over_empty, image))


def _describe(image: _Image, annotations: Group) -> dict[str, Any]:
    """Every caption of an image is right."""
    captions = [_get_caption(_take(entry)) for _, entry in annotations]
    if not captions:
        raise PassedOver("image without captions", "the file has no caption of the image")
    return image.build_row(None, {"answers": list(dict.fromkeys(captions))})


def _get_caption(annotation: dict[str, Any]) -> str:
    caption = annotation.get("caption")
    if not isinstance(caption, str) or not caption.strip():
        where = f"annotation {annotation.get('id')}"
        raise RowError(
            "empty caption",
            f"{where}: caption {show_value(caption)} is no text; remove it, or give the file of "
            "captions",
        )
    return caption.strip()


def _locate(image: _Image, entry: Entry, alone: Counter[str | None]) -> dict[str, Any]:
    """The box of an object that is the only one of its kind."""
    annotation = _take(entry)
    if annotation.get("iscrowd"):
        raise _crowd(annotation)
    category, num = image.name_category(annotation), alone[name_id(annotation.get("category_id"))]
    if num > 1:
        raise PassedOver(
            "category not alone in its image",
            f"{num} annotations of {show_value(category)} in {image.label}: its name alone does "
            'not say which; task = "detection" asks for all of them',
        )
    return image.build_row(category, {"box": parse_bbox(annotation)})


def _find_all(image: _Image, group: Group) -> dict[str, Any]:
    """All objects of a kind, or how many they are."""
    annotations = [_take(entry) for _, entry in group]
    for annotation in annotations:
        if annotation.get("iscrowd"):
            raise _crowd(annotation)
    category = image.name_category(annotations[0])
    if image.config.task == "counting":
        return image.build_row(category, {"answer": len(annotations)})
    return image.build_row(category, {"boxes": [parse_bbox(each) for each in annotations]})


def _pass_over_empty(image: _Image) -> dict[str, Any]:
    image.build_row(None, {})
    raise PassedOver("image without annotations", "the file has no annotation of the image")


def _crowd(annotation: dict[str, Any]) -> RowError:
    return RowError(
        "crowd annotation",
        f"annotation {annotation.get('id')} is a crowd (iscrowd), whose objects are not told "
        'apart; remove it, or set on_bad_row = "drop"',
    )


def _take(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, RowError):
        raise entry
    return entry


def _refuse_stray(entry: Entry) -> dict[str, Any]:
    image_id = _take(entry).get("image_id")
    raise RowError("unknown image", f"image_id {show_value(image_id)} is none of the file's images")


def _label(number: int, entry: Entry) -> str:
    own_id = entry.get("id") if isinstance(entry, dict) else None
    return f"annotation entry {number}" if own_id is None else f"annotation {own_id}"


def _get_category(entry: Entry) -> str | None:
    return name_id(entry.get("category_id")) if isinstance(entry, dict) else None


def _count_categories(annotations: Group) -> Counter[str | None]:
    return Counter(_get_category(entry) for _, entry in annotations)


def _group(annotations: Group) -> Iterator[tuple[str, Group]]:
    """By category id, as it stands in the label, in the order of their first annotations."""
    groups: dict[str | None, Group] = {}
    for number, entry in annotations:
        groups.setdefault(_get_category(entry), []).append((number, entry))
    yield from ((str(category), group) for category, group in groups.items())
