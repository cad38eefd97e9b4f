"""What images other than the right one do to answers."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from schemas.base import Frozen

ProbeWay = Literal["blank", "shuffled", "cropped"]
"""What a prompt shows instead of its images: grey of their size, those of another sample of the
same task and split, or a part of each of 1 to 20% of its area (mDPO's crop)."""
WAYS: tuple[ProbeWay, ...] = get_args(ProbeWay)


class ImageProbe(Frozen):
    """One task with other images, base against trained; mean greedy rewards of the same samples.

    Intervals are 95%, of the paired bootstrap over images.
    """

    base: float | None = None
    """With the other images; this and what follows is None where no sample could be asked."""
    trained: float | None = None
    gain: float | None = None
    """trained - base, with the other images."""
    gain_low: float | None = None
    gain_high: float | None = None
    base_right: float | None = None
    """The same with the right images, as what follows."""
    trained_right: float | None = None
    gain_right: float | None = None
    gain_right_low: float | None = None
    gain_right_high: float | None = None
    needs_image: float | None = None
    """1 - gain / gain_right: the share of the gain that goes with the right image. Above 1 where
    the other images cost reward, below 0 where they gain more. None unless gain_right_low is above
    0: of no gain nothing can need the image."""
    needs_image_low: float | None = None
    needs_image_high: float | None = None
    n: int = Field(default=0, ge=0)
    """Samples that all four means are of."""
    dropped: dict[str, int] = {}
    """Reason -> chosen samples that they are not of."""
