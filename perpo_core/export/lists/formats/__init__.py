"""The formats, a module each with one `FORMAT`; a new one is a file here and its name in
schemas.exports.ListFormatName."""

from __future__ import annotations

from importlib import import_module

from perpo_core.export.lists.format import Format
from schemas.exports import ListFormatName


def load_format(name: ListFormatName) -> Format:
    """The format of that name."""
    found = import_module(f"{__name__}.{name.replace('-', '_')}").FORMAT
    assert isinstance(found, Format)
    return found
