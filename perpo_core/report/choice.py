"""How a training's checkpoint was chosen, in words."""

from __future__ import annotations

from schemas.artifact import Checkpoint
from schemas.base import JUDGING_SPLIT


def describe_choice(checkpoint: Checkpoint) -> str:
    """A clause, such as "step 75 was chosen on the selection split"."""
    if not checkpoint.readings:
        return (
            f"nothing was there to choose by, so that step {checkpoint.chosen_step:,}, the last "
            "one, was kept"
        )
    if checkpoint.chosen_step == 0:
        return f"no checkpoint beat the start on the {checkpoint.chosen_on} split"
    return f"step {checkpoint.chosen_step:,} was chosen on the {checkpoint.chosen_on} split"


def find_bias(checkpoint: Checkpoint) -> str | None:
    """A warning where the split that chose is the one that judges; None where it is not."""
    if len(checkpoint.readings) < 2 or checkpoint.chosen_on != JUDGING_SPLIT:
        return None
    return (
        f"the checkpoint is the best of {len(checkpoint.readings)} on the {JUDGING_SPLIT} split, "
        "where the gates look too, so that they pass too easily; the test split is not touched by "
        "this, and training again chooses on the selection split"
    )
