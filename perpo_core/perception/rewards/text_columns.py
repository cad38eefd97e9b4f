"""edit_similarity of all answers at once that are ASCII, as a page in English nearly always is.

The same as one by one to the last bit. Distances come from rapidfuzz, which works on many pairs
without the interpreter lock: first as if every answer were close to its truth, which takes a third
of the time, then in full for those that are not.

Left out: texts beyond ASCII, texts with tags of thoughts or answers, and collapse_whitespace =
false; they are read one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist

from perpo_core.perception.find_answer import has_tags
from perpo_core.perception.rewards.base import Answers, Results
from perpo_core.perception.rewards.columns import take_answers

CLOSE: Final = 63  # edits: what one machine word of rapidfuzz's band reaches


def compute_edit_similarities(answers: Answers, truths_M: Sequence[str | None]) -> Results:
    """compute_edit_similarity of those answers that can be normalized all at once.

    `truths_M` are normalized, and None for a question whose answers are to be left.
    """
    rows_K = _find_plain(answers, np.array([truth is not None for truth in truths_M], bool))
    plain = take_answers(answers, rows_K)
    texts_K = collapse_spaces(plain.texts_N)
    distinct, place_K = _find_distinct(texts_K, plain.numbers_N)
    truths = [truths_M[number] or "" for number in plain.numbers_N[distinct].tolist()]
    similarities = _compute_similarities(texts_K.take(pa.array(distinct)).to_pylist(), truths)
    return Results(
        rows_K,
        pa.array(similarities[place_K], pa.float64()),
        write_strings(texts_K),
        pa.nulls(len(rows_K), pa.string()),
    )


def collapse_spaces(texts_N: pa.StringArray) -> pa.StringArray:
    """ " ".join(text.split()) of ASCII texts whose only control characters are white space."""
    starts, data = _view(texts_N)
    is_space = data <= 32
    follows_space = np.empty_like(is_space)
    follows_space[1:] = is_space[:-1]
    follows_space[starts[:-1][starts[:-1] < len(data)]] = True  # nothing stands before a text
    dropped = np.flatnonzero(is_space & follows_space)
    spaced = np.where(is_space, np.uint8(32), data)
    kept = np.delete(spaced, dropped) if len(dropped) else spaced
    ends = (starts - np.searchsorted(dropped, starts)).astype(np.int32)
    collapsed = pa.StringArray.from_buffers(len(texts_N), pa.py_buffer(ends), pa.py_buffer(kept))
    return pc.ascii_rtrim(collapsed, " ")


def write_strings(texts_N: pa.StringArray) -> pa.StringArray:
    """Texts without control characters as JSON."""
    _, data = _view(texts_N)
    for sign in ("\\", '"'):
        if (data == ord(sign)).any():
            texts_N = pc.replace_substring(texts_N, sign, f"\\{sign}")
    return pc.binary_join_element_wise('"', texts_N, '"', "")


def _find_plain(answers: Answers, is_plain_M: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which answers to those questions are untagged ASCII without control characters."""
    starts, data = _view(answers.texts_N)
    is_control = (data < 32) & ((data < 9) | (data > 13))
    is_plain_N = is_plain_M[answers.numbers_N]
    is_plain_N[_find_rows(starts, is_control | (data > 126))] = False
    # What else tags begin with is beyond ASCII.
    rows = np.unique(_find_rows(starts, (data == ord("<")) | (data == ord("["))))
    texts = answers.texts_N.take(pa.array(rows)).to_pylist()
    is_plain_N[rows] &= np.array([not has_tags(text) for text in texts], bool)
    return np.flatnonzero(is_plain_N)


def _find_rows(starts: NDArray[np.int32], is_marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of marked bytes, the texts that they are in."""
    return np.searchsorted(starts, np.flatnonzero(is_marked), side="right") - 1


def _find_distinct(
    texts_K: pa.StringArray, numbers_K: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One row of each text and question, and for every row its place among these."""
    codes = texts_K.dictionary_encode()
    pairs_K = numbers_K * len(codes.dictionary) + codes.indices.to_numpy()
    _, rows, place_K = np.unique(pairs_K, return_index=True, return_inverse=True)
    return rows, place_K


def _compute_similarities(texts: list[str], truths: list[str]) -> NDArray[np.float64]:
    """1 - Levenshtein.normalized_distance, by the same arithmetic."""
    longest = np.array([max(len(a), len(b), 1) for a, b in zip(texts, truths, strict=True)], float)
    distances = cpdist(
        texts, truths, scorer=Levenshtein.distance, score_cutoff=CLOSE, dtype=np.int64
    )
    far = np.flatnonzero(distances > CLOSE)
    if len(far):
        pairs = [texts[row] for row in far], [truths[row] for row in far]
        distances[far] = cpdist(*pairs, scorer=Levenshtein.distance, dtype=np.int64)
    return 1 - distances / longest


def _view(texts_N: pa.StringArray) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Where each text starts, and the end of all; and their bytes."""
    _, starts, data = texts_N.buffers()
    bounds = np.frombuffer(starts, np.int32)[texts_N.offset : texts_N.offset + len(texts_N) + 1]
    taken = np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]] if data else np.empty(0, np.uint8)
    return bounds - bounds[0], taken
