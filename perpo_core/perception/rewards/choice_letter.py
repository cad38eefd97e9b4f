"""Multiple choice: the one letter that is right.

The truth is a letter, alone or before its text ("B", "(B)", "B. a dog"). Of an answer the first of
these counts that states exactly one letter:

1. the whole answer is a letter, or begins with one and a bracket, full stop or colon: "b", "(B)",
   "B. a dog", "**B**";
2. a letter in a \\boxed{}, or after "answer", "option" or "choice", with "is", a colon or nothing
   between: "The answer is (B).", "Option B";
3. a letter in brackets: "It must be (B).";
4. a capital letter on its own, except "I", and "A" before a word that it is the article of.

The words of a choice without its letter are not read: "a dog" is an error.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.truths.row import show_value
from perpo_core.perception.visible import has_visible, remove_invisible

DECORATION: Final = str.maketrans("", "", "*`\"'$")  # Markdown, quotes, formulas
IN_BRACKETS: Final = r"\(\s*([A-Za-z])\s*\)|\[\s*([A-Za-z])\s*\]"
# "A" is English before a word, unless the word speaks of a choice.
NO_ARTICLE: Final = r"(?!A\s+(?!(?:and|or|nor|is|was|because|since|as|seems|must)\b)\w)"
WHOLE = re.compile(rf"\s*(?:{IN_BRACKETS}|([A-Za-z])\s*(?:[).:\]](?:\s|$)|\n|$))")
NAMED = re.compile(
    r"\\boxed\{\s*(?:\\text\{)?\s*\(?([A-Za-z])\)?\s*\}"
    rf"|\b(?i:option|choice)\s*:?\s*(?:{IN_BRACKETS}|([A-Z])(?![\w'-]))"
    rf"|\b(?i:answer)\s*(?:is\b|:|=)?\s*:?\s*(?:{IN_BRACKETS}|{NO_ARTICLE}([A-Z])(?![\w'-]))"
)
BRACKETED = re.compile(IN_BRACKETS)
ALONE = re.compile(rf"(?<![\w'.-])(?!I\b){NO_ARTICLE}([A-Z])(?![\w'-])")


def compute_choice_letter(text: str, target: Target, reading: Reading) -> RewardResult:
    """1.0 for the letter of target["text"], else 0.0; no letter, or several, is an error."""
    del reading
    assert target["text"] is not None
    truth = WHOLE.match(simplify(target["text"]))
    if truth is None:
        said = f"the truth {show_value(target['text'])} is no letter of a choice, such as B"
        return RewardResult(None, error=said)
    stated, problem = find_answer(text)
    if stated is None:
        return RewardResult(None, error=problem)
    letter, problem = parse_letter(stated)
    if letter is None:
        return RewardResult(None, error=problem)
    return RewardResult(float(letter == _get_letter(truth)), parsed=letter)


def parse_letter(answer: str) -> tuple[str | None, str | None]:
    """The letter that an answer states: (letter, None), or (None, why there is none).

    >>> parse_letter("The answer is (b)."), parse_letter("C. a dog")
    (('B', None), ('C', None))
    """
    plain = simplify(answer)
    whole = WHOLE.match(plain)
    if whole is not None:
        return _get_letter(whole), None
    for pattern in (NAMED, BRACKETED, ALONE):
        letters = {_get_letter(match) for match in pattern.finditer(plain)}
        if len(letters) > 1:
            return None, f"{len(letters)} letters in the answer: {', '.join(sorted(letters))}"
        if letters:
            return letters.pop(), None
    return None, "no letter in the answer" if has_visible(answer) else "the answer is blank"


def simplify(text: str) -> str:
    """The text without decoration, letters of every width and form as plain ones."""
    return unicodedata.normalize("NFKC", remove_invisible(text)).translate(DECORATION)


def _get_letter(match: re.Match[str]) -> str:
    return next(letter for letter in match.groups() if letter).upper()


CHOICE_LETTER = Reward("choice_letter", compute_choice_letter)
