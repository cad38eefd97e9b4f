"""Export: what a run trained, as a folder to hand over, with a model card.

The card says only what the run's artifacts and configuration say; nothing is measured here and no
model is loaded. Left out: uploading (`hf upload` does that with the finished folder).
"""

from __future__ import annotations

from perpo_core.export.export import export_run

__all__ = ["export_run"]
