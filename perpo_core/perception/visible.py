"""Which characters can be seen: a text without any says nothing, however long it is.

By Unicode's properties, in the version of the `regex` package: white space, control and format
characters, halves of surrogate pairs, and what Unicode calls Default_Ignorable (variation
selectors, the Hangul fillers, soft hyphens). Braille's blank cell and music's null note head are
drawn as nothing and have no property that says so.
"""

from __future__ import annotations

import regex

# Prepended marks, such as Arabic's number sign, are format characters that are drawn.
INVISIBLE = r"[\p{White_Space}\p{Cc}\p{Cs}\p{Default_Ignorable_Code_Point}\u2800\U0001D159" + (
    r"[\p{Cf}--\p{Prepended_Concatenation_Mark}]]"
)
VISIBLE = regex.compile(f"[^{INVISIBLE}]", regex.VERSION1)
UNSEEN = regex.compile(rf"[{INVISIBLE}--\p{{White_Space}}]", regex.VERSION1)


def has_visible(text: str) -> bool:
    """Whether a reader would see anything.

    >>> has_visible("a"), has_visible("\\u200b\\ufeff \\t"), has_visible("")
    (True, False, False)
    """
    return VISIBLE.search(text) is not None


def remove_invisible(text: str) -> str:
    """The text without what is not seen; white space stays, since it parts words.

    >>> remove_invisible("\\ufeff1\\u200b2 3\\u200e")
    '12 3'
    """
    return UNSEEN.sub("", text)
