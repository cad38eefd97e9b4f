"""Which part of what a model wrote is its answer: thoughts are drafts, and answer tags say where.

Reasoning models write their thoughts first, in tags that differ by family: <think> (DeepSeek-R1,
Qwen3, GLM-V), <thinking>, <thought>, <reasoning>, with a prefix (<seed:think>, <mm:think>), in bars
(<|begin_of_thought|>, <|START_THINKING|>), [THINK] (Magistral), triangles (Kimi-VL), and Gemma 4's
<|channel>thought. Many chat templates write the opening tag themselves, so that only the closing
one is in the text. Answers may have tags too: <answer>, GLM-V's <|begin_of_box|>.

Left out: tags that the tokenizer counts as special tokens, which are gone before anything is read,
and channels of models without eyes (gpt-oss).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from perpo_core.perception.visible import has_visible

UNCLOSED = "the thoughts are never closed, so there is no answer after them"

_PREFIX: Final = r"(?:[a-z]++[:|])?"
_THOUGHT: Final = r"(?:think(?:ing)?|thoughts?|reasoning)"
_RESULT: Final = r"(?:answer|solution|box)"
_TRIANGLE, _TRIANGLE_END = "\u25c1", "\u25b7"
_OPENINGS: Final = ("<", "[", _TRIANGLE)
"""How every tag begins."""
TAG = re.compile(
    rf"(?=[<\[{_TRIANGLE}])(?:"
    rf"(?P<think><\|?{_PREFIX}{_THOUGHT}\|?>|<\|(?:begin_of|start)_{_THOUGHT}\|>"
    rf"|\[{_THOUGHT}\]|{_TRIANGLE}{_THOUGHT}{_TRIANGLE_END}|<\|channel>thought)"
    rf"|(?P<thought><\|?/\|?{_PREFIX}{_THOUGHT}\|?>|<\|end(?:_of)?_{_THOUGHT}\|>"
    rf"|\[/{_THOUGHT}\]|{_TRIANGLE}/{_THOUGHT}{_TRIANGLE_END}|<channel\|>)"
    rf"|(?P<answer><\|?{_PREFIX}answer\|?>|<\|begin_of_{_RESULT}\|>)"
    rf"|(?P<answered><\|?/\|?{_PREFIX}answer\|?>|<\|end_of_{_RESULT}\|>))",
    re.IGNORECASE,
)


@dataclass
class Outside:
    """What stands outside of all thoughts, as it is gathered from tag to tag."""

    text: str
    start: int = 0
    """Where the present piece begins."""
    is_answer: bool = False
    """Whether the present piece stands in answer tags."""
    piece: str = ""
    """The last one before it in which something can be seen."""
    answer: str | None = None
    """The last one in answer tags in which something can be seen; "" where all are empty."""

    def end_piece(self, end: int, start: int, is_ended: bool = False) -> None:
        """The present piece ends at `end`, `is_ended`: by an answer's closing tag; the next begins.

        A closing tag alone ends an answer that the chat template began.
        """
        piece = self.text[self.start : end]
        if self.is_answer or (is_ended and not self.answer):
            self.answer = piece if has_visible(piece) else self.answer or ""
        elif has_visible(piece):
            self.piece = piece
        self.start, self.is_answer = start, False


def has_tags(text: str) -> bool:
    """Whether any tag of thoughts or answers stands in a text."""
    if not any(opening in text for opening in _OPENINGS):  # twenty times as fast on a page
        return False
    return TAG.search(text) is not None


def find_answer(text: str) -> tuple[str | None, str | None]:
    """The part of a text that answers: (answer, None), or (None, why there is none).

    A text without tags is its own answer. Else thoughts go: all between their tags and, where only
    the closing tag is there, all before it. Of what is left, the last part in answer tags counts,
    also one that was cut off; without such tags the part after the last thoughts, or the one before
    them where nothing follows. Thoughts that never end leave no answer, whatever was drafted in
    them. Tags with nothing in them answer nothing: "". Takes time linear in the text.

    >>> find_answer("<think>not [1, 2, 3, 4]</think><answer>[5, 6, 7, 8]</answer>")
    ('[5, 6, 7, 8]', None)
    """
    if not has_tags(text):
        return text, None
    outside, depth, opened = Outside(text), 0, 0
    for tag in TAG.finditer(text):
        kind, (start, end) = tag.lastgroup, tag.span()
        if kind == "think":
            if depth == 0:
                outside.end_piece(start, end)
            # Twice in a row it is one: by the template, and again by the model.
            depth += depth == 0 or has_visible(text[opened:start])
            opened = end
        elif kind == "thought":
            outside = outside if depth else Outside(text)
            outside.start, depth = end, max(depth - 1, 0)
        elif depth == 0:
            outside.end_piece(start, end, kind == "answered")
            outside.is_answer = kind == "answer"
    if depth:
        return None, UNCLOSED
    outside.end_piece(len(text), len(text))
    return outside.piece if outside.answer is None else outside.answer, None
