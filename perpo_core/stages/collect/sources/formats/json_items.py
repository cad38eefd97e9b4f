"""The entries of a large JSON file one by one: of its array, or of the arrays of its object.

One pass over the text, by the decoder of the standard library, which is shown a window of it.
Memory is that of the window and of one entry. ijson streams as well; it takes a pass for each array
of a COCO file, and a key that an object has twice cannot be told with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from perpo_core.perception.truths.row import RowError, show_value

WINDOW_CHARACTERS = 1 << 20
SPLIT_TOKEN_CHARACTERS = 16  # what the end of the window may cut: true, -Infinity, \\u00e9
BLANKS = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class Item:
    """An entry of an array, or a value of the object that is no array."""

    key: str | None
    """Of the file's object; None where the file is one array."""
    number: int
    """Of the entry, from 1."""
    value: Any
    """What stands there, or why it cannot be used: an object with a key twice."""


def iterate_items(file: Path, window_characters: int = WINDOW_CHARACTERS) -> Iterator[Item]:
    """Raises ValueError, which names the file, where it is no JSON."""
    try:
        with file.open(encoding="utf-8-sig") as handle:
            yield from _Scanner(handle, window_characters).scan()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8 text ({error}); save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}: not JSON: {error.msg}; correct the file") from error


class _Scanner:
    def __init__(self, handle: IO[str], window_characters: int) -> None:
        self._handle, self._window = handle, window_characters
        self._text, self._at, self._before = "", 0, 0
        self._doubled: list[RowError] = []
        self._decoder = json.JSONDecoder(object_pairs_hook=self._build_object)

    def scan(self) -> Iterator[Item]:
        """The items of the whole text."""
        first = self._peek()
        if first == "[":
            yield from self._iterate_array(None)
        elif first == "{":
            yield from self._iterate_object()
        else:
            raise self._fail("neither an array nor an object begins it")
        if self._peek():
            raise self._fail("more follows its end (one object a line is .jsonl)")

    def _iterate_object(self) -> Iterator[Item]:
        self._expect("{")
        seen: set[str] = set()
        while self._peek() != "}":
            if seen:
                self._expect(",")
            self._peek()
            key = self._decode()
            if not isinstance(key, str) or key in seen:
                raise self._fail(f"{show_value(key)} is no key, or there twice")
            seen.add(key)
            self._expect(":")
            if self._peek() == "[":
                yield from self._iterate_array(key)
            else:
                yield Item(key, 1, self._decode())
        self._expect("}")

    def _iterate_array(self, key: str | None) -> Iterator[Item]:
        self._expect("[")
        number = 0
        while self._peek() != "]":
            if number:
                self._expect(",")
                self._peek()
            number += 1
            yield Item(key, number, self._decode())
        self._expect("]")

    def _decode(self) -> Any:
        """The value that begins here; one that the window cuts is decoded again with more of it."""
        while True:
            self._doubled.clear()
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._may_be_cut(error) or not self._read_on():
                    raise self._fail(error.msg, error.pos) from None
                continue
            if not self._may_go_on(end) or not self._read_on():
                self._at = end
                return self._doubled[0] if self._doubled else value

    def _may_go_on(self, end: int) -> bool:
        """Whether the value may be longer than the window shows: of 0.5 it may show 0 or 0."""
        rest = self._text[end:]
        return len(rest) < SPLIT_TOKEN_CHARACTERS and rest[:1] in ("", ".", "e", "E")

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        near_end = error.pos >= len(self._text) - SPLIT_TOKEN_CHARACTERS
        return near_end or error.msg.startswith("Unterminated string")

    def _read_on(self) -> bool:
        """As much again as a cut value has, so that decoding it anew costs little in all."""
        more = self._handle.read(max(self._window, len(self._text) - self._at))
        if more:
            self._before += self._at
            self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)

    def _peek(self) -> str:
        """The next character that is no blank, "" at the end."""
        while True:
            blank = BLANKS.match(self._text, self._at)
            assert blank is not None  # none is blank too
            self._at = blank.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._fail(f"{character!r} is missing")
        self._at += 1

    def _fail(self, what: str, at: int | None = None) -> json.JSONDecodeError:
        place = self._before + (self._at if at is None else at)
        return json.JSONDecodeError(f"{what}, at character {place}", "", 0)

    def _build_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            key = next(key for key in keys if keys.count(key) > 1)
            sentence = f"key {show_value(key)} twice; keep one"
            self._doubled.append(RowError("doubled key", sentence))
        return found
