from __future__ import annotations

import numpy as np
import pytest

from perpo_core.evidence.headroom import compute_headroom
from tests.perpo_core.evidence.planted import draw_effects

IMAGES_4 = ["a", "b", "c", "d"]


def test_by_hand() -> None:
    """Start 0.5, its best 0.9, methods 0.6 and 0.7 on average: 0.15 of 0.4."""
    found = compute_headroom(
        np.array([[0.6] * 4, [0.7] * 4]), np.full(4, 0.5), np.full(4, 0.9), IMAGES_4, 400, 0
    )
    assert found is not None
    assert [found.gain, found.room] == pytest.approx([0.15, 0.4])
    assert found.closed == pytest.approx(0.375)
    assert found.low < 0.375 < found.high
    assert (found.seeds, found.prompts, found.images) == (2, 4, 4)


def test_a_ratio_of_means_and_not_a_mean_of_ratios() -> None:
    found = compute_headroom(
        [[1.0, 0.1, 1.0, 0.1]], [0.0, 0.0, 0.0, 0.0], [1.0, 0.2, 1.0, 0.2], IMAGES_4, 100, 0
    )
    assert found is not None
    assert found.closed == pytest.approx(1.1 / 1.2)


def test_gain_and_room_are_resampled_together() -> None:
    """Half the room of every image closed is a half in whatever images are drawn."""
    room_P = np.random.default_rng(0).random(50)
    start_P = np.zeros(50)
    found = compute_headroom([room_P / 2], start_P, room_P, range(50), 400, 0)
    assert found is not None
    assert [found.low, found.high] == pytest.approx([0.5, 0.5])


def test_the_best_of_n_itself_closes_all_and_the_start_nothing() -> None:
    start_P, best_P = np.random.default_rng(0).random((2, 30)) + np.array([[0.0], [0.5]])
    best = compute_headroom([best_P], start_P, best_P, range(30), 100, 0)
    start = compute_headroom([start_P], start_P, best_P, range(30), 100, 0)
    assert best is not None and start is not None
    assert [best.closed, start.closed] == pytest.approx([1, 0])


@pytest.mark.parametrize("best", [[0.5, 0.5, 0.5, 0.5], [0.4, 0.4, 0.4, 0.4], [0.9, 0.4, 0.4, 0.4]])
def test_none_without_headroom_that_is_surely_there(best: list[float]) -> None:
    assert compute_headroom([[0.6] * 4], [0.5] * 4, best, IMAGES_4, 400, 0) is None


def test_intervals_hold_the_truth() -> None:
    """Half of a room of 0.2 closed: of 100 intervals at least 88 hold it (one in a thousand)."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        room_P = 0.2 + 0.3 * rng.standard_normal(200)
        gain_SP = 0.5 * room_P + draw_effects(rng, 200, 5, (0.02, 0.3, 0.3))
        found = compute_headroom(gain_SP, np.zeros(200), room_P, range(200), 400, 0)
        assert found is not None
        held += found.low <= 0.5 <= found.high
    assert held >= 88


def test_answers_of_other_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="start_best_of_n"):
        compute_headroom(np.zeros((2, 4)), [0.0] * 4, [1.0] * 3, IMAGES_4, 100, 0)
