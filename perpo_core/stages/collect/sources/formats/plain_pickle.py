"""A pickle of plain values, read without running anything that it asks for.

A pickle is a program: it may name any function of any module and call it. Those of RefCOCO hold
lists, dictionaries, texts and numbers, which need no name at all; some were written by Python 2,
whose texts are bytes. What names anything is refused before it is looked up.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 30  # the largest of RefCOCO is 90 MB; one holds all of it in memory


class _PlainUnpickler(pickle.Unpickler):
    """No name is ever found; containers, texts, numbers and None need none."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside")


def load_plain_pickle(file: Path) -> Any:
    """The value. Raises ValueError, one sentence, for a pickle that asks for anything else."""
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(
            f"{file}: {file.stat().st_size} bytes are no RefCOCO pickle; check the file"
        )
    try:
        with file.open("rb") as handle:
            return _PlainUnpickler(handle, encoding="utf-8").load()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: its texts are not UTF-8 ({error}); get the file anew") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file}: no pickle of plain lists, dictionaries, texts and numbers ({error}); nothing "
            "of it was run; get the official file"
        ) from error
    except (EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: a damaged pickle ({error}); get the file anew") from error
