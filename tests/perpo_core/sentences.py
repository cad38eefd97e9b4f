"""What somebody reads who gave something wrong."""

from __future__ import annotations

LONGEST = 700


def check_sentence(said: str, *names: str) -> None:
    """One sentence on one line, without a traceback; it has each of `names`: file, row, value."""
    assert said.isprintable(), "one line, and nothing that a terminal would obey"
    assert "Traceback" not in said and "Error:" not in said and len(said) < LONGEST
    for name in names:
        assert name in said, f"{name!r} is not in {said!r}"
