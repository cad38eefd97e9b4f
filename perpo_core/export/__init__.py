"""Export: what a run trained, as a folder to hand over, with a model card; and its lists.

The card says only what the run's artifacts and configuration say; nothing is measured here and no
model is loaded. Left out: uploading (`hf upload` does that with the finished folder).
"""

from __future__ import annotations

from perpo_core.export.export import export_run
from perpo_core.export.lists import export_lists

__all__ = ["export_lists", "export_run"]
