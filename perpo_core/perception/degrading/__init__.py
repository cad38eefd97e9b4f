"""Answers made worse by known extents, K degrees of each: what a classifier can be taught with.

Self-supervised Preference Optimization (SPO, arXiv 2409.17791) removes key content from an answer
to growing extents, so that the degree of every version is known without a label. That it does so
to texts is the paper's, whose abstract alone was read here; how words are chosen, and what stands
for key content in boxes, counts, points, objects and tables, is ours. A file a kind of truth; a
task names its own (`Task.degrader`).

A version is written anew and read back as any answer is: it counts only if what is read of it has
the degree that was meant. Degree 0 is the answer itself; of boxes, points and counts as the
policy's format writes it, so that all versions of an answer are written in one way. Thoughts are
drafts, and no part of any version.
"""

from __future__ import annotations

from perpo_core.perception.degrading.base import Degrader, Spread, Versions
from perpo_core.perception.degrading.boxes import BOX, BOXES
from perpo_core.perception.degrading.counts import COUNT
from perpo_core.perception.degrading.objects import VALUES
from perpo_core.perception.degrading.points import POINT
from perpo_core.perception.degrading.texts import CELLS, WORDS

__all__ = [
    "BOX",
    "BOXES",
    "CELLS",
    "COUNT",
    "POINT",
    "VALUES",
    "WORDS",
    "Degrader",
    "Spread",
    "Versions",
]  # fmt: skip
