"""Patience by itself, on a loop that is as late as a busy machine makes it."""

from __future__ import annotations

import asyncio
import time

import pytest

from perpo_core.store.bucket.patience import OutOfPatience, Patience, persist


def test_nobody_is_told_of_a_deadline_that_has_passed() -> None:
    told_s: list[float] = []

    async def ask(progress: object) -> None:
        asyncio.get_running_loop().call_later(0.01, time.sleep, 0.2)
        await asyncio.sleep(10)

    patience = Patience(tell_s=0.1, give_up_s=0.05)
    with pytest.raises(OutOfPatience):
        asyncio.run(
            persist(ask, patience, lambda _: True, lambda _error, left_s: told_s.append(left_s))
        )
    assert told_s == []
