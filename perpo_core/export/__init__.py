"""Export: what a run trained, as a folder to hand over, with a model card; and its lists.

The cards say only what the run's artifacts and configuration say; nothing is measured here and no
model is loaded. Left out: uploading a model (`hf upload` does that with the finished folder).
"""

from __future__ import annotations

from perpo_core.export.export import export_run
from perpo_core.export.lists import Asked, check_push, export_lists, push_folder

__all__ = ["Asked", "check_push", "export_lists", "export_run", "push_folder"]
