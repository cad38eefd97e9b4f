"""Ranked lists for other trainers: a folder in one of many formats, with a card.

write.py      the whole way: lists, pairs, rows, card
formats/      one file a format
push.py       to the Hugging Face Hub, if asked
"""

from __future__ import annotations

from perpo_core.export.lists.push import check_push, push_folder
from perpo_core.export.lists.write import Asked, export_lists

__all__ = ["Asked", "check_push", "export_lists", "push_folder"]
