"""Which GPUs there are for us, and which engine has which of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.process.gpus import assign_gpus, count_engines, find_gpus


def write_driver(folder: Path, num_gpus: int) -> Path:
    """What the NVIDIA driver shows below /proc."""
    (folder / "gpus").mkdir(parents=True)
    (folder / "version").write_text("NVRM version")
    for number in range(num_gpus):
        (folder / "gpus" / f"0000:0{number}:00.0").mkdir()
    return folder


def test_gpus_are_those_the_user_lets_us_see(tmp_path, monkeypatch):
    driver = write_driver(tmp_path / "driver", 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert find_gpus(driver) == ["0", "1", "2", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 1")
    assert find_gpus(driver) == ["3", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_gpus(driver) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert find_gpus(tmp_path / "no driver") == []


@pytest.mark.parametrize(
    ("processes", "tensor_parallel", "gpus", "assigned"),
    [
        (2, 1, [], [None, None]),  # CPU: as asked for
        (2, 1, ["0"], [None]),  # one GPU holds one engine
        (2, 1, ["5", "3", "1"], [["5"], ["3"]]),
        (4, 2, ["0", "1", "2", "3"], [["0", "1"], ["2", "3"]]),
        (1, 2, ["0", "1", "2", "3"], [None]),
    ],
)
def test_engines_have_gpus_of_their_own(processes, tensor_parallel, gpus, assigned):
    world = count_engines(processes, tensor_parallel, gpus)
    assert [assign_gpus(r, world, tensor_parallel, gpus) for r in range(world)] == assigned
