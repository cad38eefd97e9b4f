"""ms-swift's objects beside a conversation: what <ref-object> and <bbox> in its texts stand for.

    "objects": {"ref": ["a dog"], "bbox": [[x1, y1, x2, y2]], "bbox_type": "real", "image_id": [0]}

Texts take them one after the other, in the order of the messages. bbox_type "real" is pixels,
"norm1" 0-1; image_id is the image that a box lies in, from 0; two numbers are a point.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from perpo_core.perception.truths.row import RowError, show_value

REF, BOX = "<ref-object>", "<bbox>"
TYPES = {"real": "", "norm1": "_norm"}


@dataclass
class Objects:
    """Those of a record, and how many of them its texts have named so far."""

    refs: list[str] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    suffix: str = ""
    image_ids: list[int] = field(default_factory=list)
    _num_refs: int = 0

    @property
    def has_boxes(self) -> bool:
        return bool(self.boxes)

    def fill(self, content: Any) -> Any:
        """A text of the question, or OpenAI's parts, with the names in it. Raises RowError."""
        if isinstance(content, list):
            return [self._fill_part(part) for part in content]
        if not isinstance(content, str):
            return content
        if BOX in content:
            raise RowError(
                "box in the question",
                f"{BOX} in {show_value(content)} before the answer: each policy writes boxes in "
                "its own way; write the box out as this one does",
            )
        return self._fill_names(content)

    def fill_answer(self, text: str) -> str:
        """The answer with names in it; its boxes are the truth. Raises RowError."""
        num_boxes = text.count(BOX)
        if num_boxes and num_boxes != len(self.boxes):
            raise RowError(
                "bad objects",
                f"{num_boxes} {BOX} and the {len(self.boxes)} boxes of objects.bbox in the answer "
                f"{show_value(text)}; give each its own",
            )
        return self._fill_names(text)

    def _fill_names(self, text: str) -> str:
        pieces = text.split(REF)
        names = self.refs[self._num_refs : self._num_refs + len(pieces) - 1]
        if len(names) != len(pieces) - 1:
            raise RowError(
                "bad objects", f"more {REF} than the {len(self.refs)} names of objects.ref"
            )
        self._num_refs += len(names)
        return "".join(a + b for a, b in zip(pieces, [*names, ""], strict=True))

    def build_truth(self, task: str) -> dict[str, Any]:
        """The boxes in the place of the truth, in the key of the task. Raises RowError."""
        where = self._find_image()
        if task == "detection":
            return {f"boxes{self.suffix}": self.boxes, **where}
        key, length = ("point", 2) if len(self.boxes[-1]) == 2 else ("box", 4)
        if len(self.boxes) != 1 or len(self.boxes[0]) != length:
            raise RowError(
                "bad objects",
                f"{len(self.boxes)} boxes of objects.bbox in a record of task {task}, which has "
                'one; give the others their own record, or task "detection"',
            )
        return {f"{key}{self.suffix}": self.boxes[0], **where}

    def _fill_part(self, part: Any) -> Any:
        is_text = isinstance(part, dict) and isinstance(part.get("text"), str)
        return {**part, "text": self.fill(part["text"])} if is_text else part

    def _find_image(self) -> dict[str, Any]:
        if not all(type(number) is int and number >= 0 for number in self.image_ids):
            raise RowError(
                "bad objects",
                f"objects.image_id {show_value(self.image_ids)} is no list of whole numbers from 0",
            )
        numbers = set(self.image_ids) or {0}
        if len(numbers) > 1:
            raise RowError(
                "bad objects",
                f"objects.image_id {show_value(self.image_ids)} names several images; the truth of "
                "a row lies in one",
            )
        number = numbers.pop()
        return {"image_number": number + 1} if number else {}


def read_objects(record: dict[str, Any]) -> Objects:
    """The objects of a record; none where it has none. Raises RowError."""
    given = record.get("objects")
    if given in (None, "", {}, []):
        return Objects()
    try:
        found = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        found = given
    if not isinstance(found, dict):
        raise RowError("bad objects", f"objects {show_value(given)} is no object with ref and bbox")
    bbox_type = found.get("bbox_type") or "real"
    if not isinstance(bbox_type, str) or bbox_type not in TYPES:
        raise RowError(
            "bad objects", f"objects.bbox_type {show_value(bbox_type)} is neither real nor norm1"
        )
    boxes = found.get("bbox") or []
    if not isinstance(boxes, list) or not all(
        isinstance(b, list) and len(b) in (2, 4) for b in boxes
    ):
        raise RowError(
            "bad objects",
            f"objects.bbox {show_value(boxes)} is no list of two or four numbers each",
        )
    image_ids = found.get("image_id") or []
    image_ids = image_ids if isinstance(image_ids, list) else [image_ids]
    return Objects(_read_refs(found), boxes, TYPES[bbox_type], image_ids)


def _read_refs(found: dict[str, Any]) -> list[str]:
    refs = found.get("ref") or []
    if not isinstance(refs, list) or not all(isinstance(ref, str) for ref in refs):
        raise RowError("bad objects", f"objects.ref {show_value(refs)} is no list of names")
    return refs
