"""stdout and stderr that take any text: what their encoding lacks gets a plain stand-in.

Left out: transliteration; a letter of a name or a prompt that it lacks is a question mark.
"""

from __future__ import annotations

import codecs
import io
import sys

UP, DOWN, LEVEL = "\u2191", "\u2193", "\u2192"
ELLIPSIS = "\u2026"  # rich shortens with it
STAND_INS = {UP: "+", DOWN: "-", LEVEL: "=", ELLIPSIS: "."}  # as wide: tables stay straight
PLAIN = "perpo-plain"


def make_printable() -> None:
    """From here on stdout and stderr take any text, whatever their encoding."""
    codecs.register_error(PLAIN, stand_in)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)


def stand_in(error: UnicodeError) -> tuple[str, int]:
    """What is written for characters that an encoding lacks, and where to go on (codecs)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(STAND_INS.get(character, "?") for character in lacking), error.end
