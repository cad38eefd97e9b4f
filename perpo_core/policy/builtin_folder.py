"""Where the built-in policy lies; apart from what builds it, so that asking costs no torch
import."""

from __future__ import annotations

from pathlib import Path

BUILTIN_FOLDER = Path(__file__).parent / "builtin"
