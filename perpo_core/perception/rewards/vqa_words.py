"""When two short answers are the same: the normalisation of VQA v2's evaluation.

In its order: line ends and tabs are spaces; punctuation goes, leaving a space where it stood
between two letters and the text has no number with a comma in it; full stops go that are not before
a digit; all in lower case; number words up to ten are digits and "none" is 0; articles go;
contractions get their apostrophe. Besides, typographic apostrophes are plain ones and what cannot
be seen goes; an answer that is nothing but an article, such as the choice A, stays; the list of
contractions is the official one but for a slip in it (somebody'd).
"""

from __future__ import annotations

import re
from typing import Final

from perpo_core.perception.visible import remove_invisible

PUNCTUATION: Final = ';/[]"{}()=+\\_-><@`,?!'
PERIOD = re.compile(r"\.(?!\d)")
COMMA_IN_NUMBER = re.compile(r"\d,\d")
NUMBERS: Final = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5",
    "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
ARTICLES: Final = {"a", "an", "the"}
# Those that are also words without it (he'll, I'd, let's, she's, we'd, we're) are not among them.
CONTRACTIONS: Final = re.findall(
    r"\S+",
    """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
    might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd somebody'd've somebody'll somebody's someone'd someone'd've
    someone'll someone's something'd something'd've something'll that's there'd there'd've there're
    there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll
    what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll
    why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll
    you're you've
    """,
)


def _leave_one_out(word: str) -> list[str]:
    """The word without each one of its apostrophes.

    >>> _leave_one_out("he'd've")
    ["hed've", "he'dve"]
    """
    places = [place for place, letter in enumerate(word) if letter == "'"]
    return [word[:place] + word[place + 1 :] for place in places]


WHOLE: Final = {short: word for word in CONTRACTIONS for short in _leave_one_out(word)}


def normalize_answer(text: str) -> str:
    """The answer as it is compared.

    >>> normalize_answer("The  two dogs."), normalize_answer("dont know!"), normalize_answer("A.")
    ('2 dogs', "don't know", 'a')
    """
    plain = remove_invisible(text).replace("\u2019", "'")
    plain = plain.replace("\n", " ").replace("\t", " ").strip()
    words = _remove_punctuation(plain).lower().split()
    words = [NUMBERS.get(word, word) for word in words]
    words = [word for word in words if word not in ARTICLES] or words
    return " ".join(WHOLE.get(word, word) for word in words)


def _remove_punctuation(text: str) -> str:
    out, has_number = text, COMMA_IN_NUMBER.search(text) is not None
    for mark in PUNCTUATION:
        is_outer = mark + " " in text or " " + mark in text
        out = out.replace(mark, "" if is_outer or has_number else " ")
    return PERIOD.sub("", out)
