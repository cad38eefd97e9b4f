"""OCR: 1 - ED / max(len), ED the Levenshtein distance in characters.

PerPO's own scaling of the distance is not published; only differences of rewards and their order
enter the loss, so 1 - ED and -ED train the same. The normalisation is that of the same group's
evaluator (Perception-R1, eval/evaluate_ocr.py).

Texts are compared as a reader sees them: whatever ends a line is a line end, spaces of every width
are spaces, and invisible characters, spaces at line ends, blank lines before and after, and how an
accent is encoded (NFC) do not count. By default runs of white space count as one space too. What
looks alike but is another character (ligatures, full-width letters) differs.

Thoughts are no part of the answer (perpo_core.perception.find_answer).
"""

from __future__ import annotations

import re
import unicodedata

import regex
from rapidfuzz.distance import Levenshtein

from perpo_core.perception.find_answer import find_answer, has_tags
from perpo_core.perception.rewards.base import (
    Answers,
    Reading,
    Results,
    Reward,
    RewardResult,
    Target,
)
from perpo_core.perception.visible import remove_invisible

SPACE = regex.compile(r"\p{Zs}")
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
"""What is not seen, in ASCII."""


def compute_edit_similarity(text: str, target: Target, reading: Reading) -> RewardResult:
    """Similarity in [0, 1] to target["text"].

    A blank answer says that nothing is written there: 1 where target["text"] is blank too, else 0.
    Thoughts without an end have no similarity but an error.
    """
    assert target["text"] is not None
    stated, problem = find_text(text, target["text"])
    if stated is None:
        return RewardResult(None, error=problem)
    answer = normalize_text(stated, reading.collapse_whitespace)
    truth = normalize_text(target["text"], reading.collapse_whitespace)
    return RewardResult(1 - Levenshtein.normalized_distance(answer, truth), parsed=answer)


def find_text(text: str, truth: str) -> tuple[str | None, str | None]:
    """The part of an answer that is compared with the truth: (part, None), or (None, why not).

    Where the truth itself has tags of thoughts or answers (a page about such models), they are what
    is to be read, and the answer is compared as a whole.
    """
    return (text, None) if has_tags(truth) else find_answer(text)


def normalize_text(text: str, collapse_whitespace: bool) -> str:
    """The text as it is compared; normalizing it again changes nothing.

    >>> normalize_text("\\ufeffa \\r\\n  b\\n\\n", collapse_whitespace=False)
    'a\\n  b'
    """
    is_plain = text.isascii() and not CONTROL.search(text)
    seen = text if is_plain else unicodedata.normalize("NFC", remove_invisible(text))
    if collapse_whitespace:
        return " ".join(seen.split())
    return "\n".join(SPACE.sub(" ", line).rstrip() for line in seen.splitlines()).strip("\n")


def compute_columns(answers: Answers) -> Results:
    """Of all that are written plainly."""
    from perpo_core.perception.rewards.text_columns import compute_edit_similarities

    truths = [question.target["text"] or "" for question in answers.questions_M]
    kept = [
        normalize_text(truth, True) if reading.collapse_whitespace and not has_tags(truth) else None
        for truth, reading in zip(truths, answers.readings_M, strict=True)
    ]
    return compute_edit_similarities(answers, kept)


EDIT_SIMILARITY = Reward(
    "edit_similarity", compute_edit_similarity, compute_columns=compute_columns
)
