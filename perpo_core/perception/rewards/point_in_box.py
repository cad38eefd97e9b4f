"""Grounding and pointing: 1 where the stated point is inside the true box, else 0.

Of a stated box its centre, as ScreenSpot counts (SeeClick, arXiv 2401.10935). Edges belong to the
box. Where the truth is a point, all within 2% of the image's diagonal of it is right, as in
`pointing`.
"""

from __future__ import annotations

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.pointing import compute_distance, parse_point


def compute_point_in_box(text: str, target: Target, reading: Reading) -> RewardResult:
    """1.0 if the point that is stated lies in target["box"], else 0.0."""
    assert target["box"] is not None
    point, error = parse_point(text, reading.box_format, reading.frame)
    if point is None:
        return RewardResult(None, error=error)
    distance = compute_distance(point, target["box"], reading.frame)
    return RewardResult(float(distance == 0), parsed=list(point))


POINT_IN_BOX = Reward("point_in_box", compute_point_in_box)
