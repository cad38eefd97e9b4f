"""Objectives and terms: one file and one line here."""

from __future__ import annotations

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.dpo import DPO
from perpo_core.stages.train.objectives.lipo_lambda import LIPO_LAMBDA
from perpo_core.stages.train.objectives.mdpo import MDPO
from perpo_core.stages.train.objectives.mrpo import MRPO
from perpo_core.stages.train.objectives.p3o import P3O
from perpo_core.stages.train.objectives.perpo import PERPO
from perpo_core.stages.train.objectives.plackett_luce import PLACKETT_LUCE
from perpo_core.stages.train.objectives.rosepo import ROSEPO
from perpo_core.stages.train.objectives.rpo import RPO
from perpo_core.stages.train.objectives.sdpo import SDPO
from perpo_core.stages.train.objectives.sft import SFT
from perpo_core.stages.train.objectives.terms.anchor import ANCHOR
from perpo_core.stages.train.objectives.terms.conditional import CONDITIONAL
from perpo_core.stages.train.objectives.terms.degree import DEGREE
from perpo_core.stages.train.objectives.tis_dpo import TIS_DPO

OBJECTIVES: dict[str, Objective] = {
    "perpo": PERPO,
    "plackett_luce": PLACKETT_LUCE,
    "lipo_lambda": LIPO_LAMBDA,
    "dpo": DPO,
    "sft": SFT,
    "rpo": RPO,
    "sdpo": SDPO,
    "mdpo": MDPO,
    "mrpo": MRPO,
    "tis_dpo": TIS_DPO,
    "rosepo": ROSEPO,
    "p3o": P3O,
}

# Added to any objective; the name is that of the weight in TrainConfig.
TERMS: dict[str, Objective] = {
    "nll_weight": SFT,
    "conditional_weight": CONDITIONAL,
    "anchor_weight": ANCHOR,
    "degree_weight": DEGREE,
}

__all__ = ["OBJECTIVES", "TERMS", "ListBatch", "Objective"]
