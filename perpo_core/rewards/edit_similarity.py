"""OCR: 1 - ED / max(len), ED the Levenshtein distance in characters.

PerPO's own scaling of the distance is not published; only differences of rewards and their order
enter the loss, so 1 - ED and -ED train the same. The normalisation is that of the same group's
evaluator (Perception-R1, eval/evaluate_ocr.py).

Left out: word-level F1, BLEU and METEOR, which the paper reports but does not train on.
"""

from __future__ import annotations

import unicodedata

from rapidfuzz.distance import Levenshtein

from perpo_core.rewards.base import Reading, RewardResult, Target


def compute_edit_similarity(text: str, target: Target, reading: Reading) -> RewardResult:
    """Similarity in [0, 1] to target["text"]; an empty answer scores 0 unless that is empty too."""
    assert target["text"] is not None
    answer = normalize_text(text, reading.collapse_whitespace)
    truth = normalize_text(target["text"], reading.collapse_whitespace)
    return RewardResult(1 - Levenshtein.normalized_distance(answer, truth), parsed=answer)


def normalize_text(text: str, collapse_whitespace: bool) -> str:
    """NFC, so that an accent counts once however it is encoded; optionally single spaces."""
    composed = unicodedata.normalize("NFC", text)
    return " ".join(composed.split()) if collapse_whitespace else composed
