"""Where the built-in policy lies; apart from builtin.py, so that asking costs no torch import."""

from __future__ import annotations

from pathlib import Path

BUILTIN_FOLDER = Path(__file__).parent / "builtin"
