"""Two runs that ask for the same artifact: one makes it, the other waits and takes it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from perpo_core.locks import locked_folder
from perpo_core.stage import StageContext, find_or_make
from perpo_core.store import Store
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tests.flows.toy import TOY_STAGES


def test_a_folder_is_held_alone_and_the_wait_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        with locked_folder(tmp_path / "a", lambda: said.append("never")):
            waiting = threading.Event()

            def say() -> None:
                said.append("waiting")
                waiting.set()

            def take() -> list[str]:
                with locked_folder(tmp_path / "a", say):
                    return list(said)

            second = pool.submit(take)
            assert waiting.wait(10)
            said.append("first is done")
        assert second.result(10) == ["waiting", "first is done"]
    assert list((tmp_path / "a").iterdir()) == []


def test_the_second_of_two_runs_waits_and_takes_what_the_first_made(tmp_path: Path) -> None:
    config, policy = RefreshConfig(store=tmp_path), PolicyRef(digest="a" * 64, folder=tmp_path)
    stage, at_work, go_on = TOY_STAGES["collect"], threading.Event(), threading.Event()
    made, said = [], []

    def run(context: StageContext, key: str) -> Any:
        made.append(key)
        at_work.set()
        assert go_on.wait(10)
        return stage.run(context, key)

    slow = SimpleNamespace(KIND=stage.KIND, VERSION=1, compute_key=stage.compute_key, run=run)

    def log(message: str) -> None:
        said.append(message)
        if message.startswith("waiting"):
            go_on.set()

    context = StageContext(Store(tmp_path), config, policy, log=log)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(find_or_make, context, slow)
        assert at_work.wait(10)
        second = pool.submit(find_or_make, context, slow)
        results = first.result(20), second.result(20)
    assert [result.reused for result in results] == [False, True]
    assert results[0].artifact == results[1].artifact
    assert len(made) == 1
    assert said.count("waiting for another run that makes the same samples") == 1
