"""OCR: 1 - ED / max(len), ED the Levenshtein distance in characters.

PerPO's own scaling of the distance is not published; only differences of rewards and their order
enter the loss, so 1 - ED and -ED train the same. The normalisation is that of the same group's
evaluator (Perception-R1, eval/evaluate_ocr.py).

Texts are compared as a reader sees them: whatever ends a line is a line end, spaces of every width
are spaces, and invisible characters, spaces at line ends, blank lines before and after, and how an
accent is encoded (NFC) do not count. By default runs of white space count as one space too. What
looks alike but is another character (ligatures, full-width letters) differs.

Left out: word-level F1, BLEU and METEOR, which the paper reports but does not train on.
"""

from __future__ import annotations

import unicodedata

import regex
from rapidfuzz.distance import Levenshtein

from perpo_core.perception.rewards.base import Reading, RewardResult, Target
from perpo_core.perception.visible import remove_invisible

SPACE = regex.compile(r"\p{Zs}")


def compute_edit_similarity(text: str, target: Target, reading: Reading) -> RewardResult:
    """Similarity in [0, 1] to target["text"].

    A blank answer says that nothing is written there: 1 where target["text"] is blank too, else 0.
    """
    assert target["text"] is not None
    answer = normalize_text(text, reading.collapse_whitespace)
    truth = normalize_text(target["text"], reading.collapse_whitespace)
    return RewardResult(1 - Levenshtein.normalized_distance(answer, truth), parsed=answer)


def normalize_text(text: str, collapse_whitespace: bool) -> str:
    """The text as it is compared; normalizing it again changes nothing.

    >>> normalize_text("\\ufeffa \\r\\n  b\\n\\n", collapse_whitespace=False)
    'a\\n  b'
    """
    seen = unicodedata.normalize("NFC", remove_invisible(text))
    if collapse_whitespace:
        return " ".join(seen.split())
    return "\n".join(SPACE.sub(" ", line).rstrip() for line in seen.splitlines()).strip("\n")
