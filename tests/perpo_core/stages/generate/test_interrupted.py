"""A sampling that was killed, and whose samples then changed: what was finished is taken over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from perpo_core.doctor.forecast import compute_forecast
from perpo_core.housekeeping import find_garbage, remove_garbage
from perpo_core.policy.refusals import Refusal, put_refusals
from perpo_core.process.parent import ChildFailed
from perpo_core.stages import evaluate, generate, score
from perpo_core.stages.generate import sampling
from perpo_core.stages.generate.identity import compute_candidates_key
from perpo_core.stages.generate.reuse import index_candidates
from perpo_core.stages.generate.sampling import make_candidates
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.store import YOUNG_S
from perpo_core.store.workspace import PART_SIDECAR, Sidecar, Workspace
from schemas.artifact import CandidateSet
from tests.perpo_core import scripted
from tests.perpo_core.small_store import build_sample_row, commit_samples
from tests.perpo_core.stages.growing import (
    Truths,
    build_setting,
    check_equal,
    commit,
    count,
    refresh,
)
from tests.s3 import Machines

TRUTHS = [(number, 1) for number in range(30)]
NUM_SHARDS, SHARD_PROMPTS = 10, 3
MADE_SHARDS = 9
CHANGES: dict[str, tuple[Truths, int]] = {
    "a truth corrected": ([*TRUTHS[:4], (4, 2), *TRUTHS[5:]], 3),
    "the last truth corrected": ([*TRUTHS[:29], (29, 2)], 3),
    "a row added in front": ([(30, 1), *TRUTHS], 4),
    "a row removed": (TRUTHS[1:], 3),
    "rows reordered": (TRUTHS[::-1], 3),
    "an image re-encoded": ([*TRUTHS[:4], (31, 1), *TRUTHS[5:]], 4),
    "one question asked twice": ([*TRUTHS, (0, 3)], 3),
    "nothing": (TRUTHS, 3),
}


class Killed(BaseException):
    """In the place of a signal, which would end the tests too."""


def interrupt(
    context: StageContext,
    run: Callable[[], object],
    monkeypatch: pytest.MonkeyPatch,
    after: int = MADE_SHARDS,
) -> None:
    """Let a sampling die after so many shards."""
    write = Workspace.write_part
    written: list[str] = []

    def write_or_die(self: Workspace, name: str, *arguments: Any, **named: Any) -> Any:
        if len(written) == after:
            raise Killed
        written.append(name)
        return write(self, name, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "write_part", write_or_die)
        with pytest.raises(Killed):
            run()


def generate_killed(
    context: StageContext,
    truths: Truths,
    monkeypatch: pytest.MonkeyPatch,
    after: int = MADE_SHARDS,
) -> None:
    samples = commit(context, truths)
    interrupt(context, lambda: find_or_make(context, generate, samples), monkeypatch, after)


def list_parts(context: StageContext) -> list[Path]:
    return sorted(context.store.root.glob("candidates/*/part-*.parquet"))


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_finished_is_not_sampled_again(
    change: str, tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, expected = CHANGES[change]
    context = build_setting(tmp_path)
    generate_killed(context, TRUTHS, monkeypatch)
    samples = commit(context, now)
    forecast = compute_forecast(context, samples)
    assert forecast is not None and forecast.num_new == expected, "`perpo plan` says so"
    asked.clear()
    made = refresh(context, now)
    assert sum(len(call) for call in asked) == expected
    assert count(made[0])[0] == (expected if change != "nothing" else 30), "resumed, not taken over"
    fresh = build_setting(tmp_path / "fresh")
    check_equal(context, made, fresh, refresh(fresh, now))


def test_a_split_that_changed_and_a_second_kill(
    tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = build_setting(tmp_path)
    generate_killed(context, TRUTHS, monkeypatch)
    rows = [
        build_sample_row(number, "counting", 1, "validation" if number in (3, 28) else "train")
        for number in range(36)
    ]
    samples = commit_samples(context.store, rows, name="moved")
    asked.clear()
    # Eight shards are copies and come first; of 8 new prompts two shards with 4 are finished.
    interrupt(context, lambda: find_or_make(context, generate, samples), monkeypatch, after=10)
    assert sum(len(call) for call in asked) == 7
    samples = commit_samples(context.store, rows[1:], name="moved again")
    made: CandidateSet = find_or_make(context, generate, samples).artifact
    assert count(made) == (4, 29)
    fresh = build_setting(tmp_path / "fresh")
    straight = find_or_make(
        fresh, generate, commit_samples(fresh.store, rows[1:], name="moved again")
    ).artifact
    assert straight.digest == made.digest


@pytest.mark.usefixtures("asked")
def test_what_changes_an_answer_is_sampled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate_killed(build_setting(tmp_path), TRUTHS, monkeypatch)
    for other in ({"temperature": 0.5}, {"num_candidates": 5}, {"seed": 1}, {"max_tokens": 9}):
        made = refresh(build_setting(tmp_path, **other), TRUTHS)
        assert count(made[0]) == (30, 0)
    assert count(refresh(build_setting(tmp_path, shard_prompts=4), TRUTHS)[0]) == (3, 27)


@pytest.mark.parametrize("what", ["part", "sidecar", "part gone"])
def test_a_damaged_part_is_never_used(
    what: str, tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = build_setting(tmp_path)
    generate_killed(context, TRUTHS, monkeypatch)
    part = list_parts(context)[2]
    victim = part.with_name(part.name + ".json") if what == "sidecar" else part
    if what == "part gone":
        victim.unlink()
    else:
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    now = CHANGES["a truth corrected"][0]
    forecast = compute_forecast(context, commit(context, now))
    assert forecast is not None and forecast.num_new == 6
    asked.clear()
    made = refresh(context, now)
    assert count(made[0]) == (6, 24)
    fresh = build_setting(tmp_path / "fresh")
    check_equal(context, made, fresh, refresh(fresh, now))


@pytest.mark.usefixtures("asked")
def test_a_part_damaged_anywhere_stops_nobody_who_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are read before a part is verified, so that it may say anything."""
    context = build_setting(tmp_path)
    generate_killed(context, TRUTHS[:6], monkeypatch, after=1)
    [part] = list_parts(context)
    table = pq.read_table(part)
    refused = {"refused": Refusal("too long", "by far", context.policy.digest)}
    pq.write_table(put_refusals(table, refused), part)
    whole = part.read_bytes()
    wanted = {*table["prompt_id"].to_pylist(), *refused}
    for place in range(0, len(whole), 5):
        part.write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        index_candidates([part], [context.policy.digest], wanted, lambda _: None)


def test_held_out_prompts_too(
    tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = build_setting(tmp_path)
    request = evaluate.build_request(context.config)

    def make(truths: Truths) -> CandidateSet:
        samples = commit(context, truths, split="test")
        key = compute_candidates_key(request, context.policy, samples)
        return make_candidates(context, key, request, context.policy, samples)

    interrupt(context, lambda: make(TRUTHS), monkeypatch)
    assert count(make(CHANGES["a truth corrected"][0])) == (3, 27)


@pytest.mark.usefixtures("asked")
def test_scores_of_a_scoring_that_was_killed_are_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = build_setting(tmp_path)
    samples = commit(context, TRUTHS)
    candidates = find_or_make(context, generate, samples).artifact
    interrupt(context, lambda: find_or_make(context, score, samples, candidates), monkeypatch)
    now = CHANGES["a truth corrected"][0]
    made = refresh(context, now)
    assert count(made[1]) == ((3 + 1) * 4, 26 * 4), "the shard in hand, and the corrected sample"
    fresh = build_setting(tmp_path / "fresh")
    check_equal(context, made, fresh, refresh(fresh, now))


@pytest.mark.usefixtures("asked")
def test_finished_parts_stay_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = build_setting(tmp_path)
    generate_killed(context, TRUTHS, monkeypatch)
    [newest] = {max(path.stat().st_mtime for path in list_parts(context))}

    def clean_up(later_s: float) -> int:
        found = find_garbage(context.store, [], [], newest + later_s)
        remove_garbage(context.store, [each for each in found if each.kind == "candidates"])
        return len(list_parts(context))

    assert clean_up(YOUNG_S - 60) == MADE_SHARDS
    assert clean_up(YOUNG_S + 60) == 0
    assert count(refresh(context, CHANGES["a truth corrected"][0])[0]) == (30, 0)


@pytest.mark.usefixtures("asked")
def test_another_machine_takes_them_from_the_bucket(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(name: str) -> StageContext:
        context = build_setting(tmp_path / name)
        store = machines.open(name)
        config = context.config.model_copy(update={"store": machines.address})
        return StageContext(store, config, context.policy)

    generate_killed(build("first"), TRUTHS, monkeypatch)
    context = build("second")
    now = CHANGES["a truth corrected"][0]
    forecast = compute_forecast(context, commit(context, now))
    assert forecast is not None and forecast.num_new == 3
    made = refresh(context, now)
    assert count(made[0]) == (3, 27)
    fresh = build_setting(tmp_path / "fresh")
    check_equal(context, made, fresh, refresh(fresh, now))


def test_killed_for_real_in_the_last_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "CHILD", scripted.MODULE)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
    context = build_setting(tmp_path)
    samples = commit(context, TRUTHS)
    monkeypatch.setenv(scripted.KILL_AFTER, str(MADE_SHARDS * SHARD_PROMPTS))
    with pytest.raises(ChildFailed, match="SIGKILL"):
        find_or_make(context, generate, samples)
    assert len(list_parts(context)) == MADE_SHARDS
    monkeypatch.delenv(scripted.KILL_AFTER)
    now = CHANGES["a truth corrected"][0]
    candidates = find_or_make(context, generate, commit(context, now)).artifact
    assert count(candidates) == (3, 27)
    fresh = build_setting(tmp_path / "fresh")
    assert find_or_make(fresh, generate, commit(fresh, now)).artifact.digest == candidates.digest


@pytest.mark.usefixtures("asked")
def test_a_part_of_before_says_nothing_of_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = build_setting(tmp_path)
    generate_killed(context, TRUTHS, monkeypatch)
    for path in context.store.root.glob(f"candidates/*/part-*{PART_SIDECAR}"):
        sidecar = Sidecar.model_validate_json(path.read_bytes())
        path.write_text(sidecar.model_dump_json(exclude={"rows_made_of"}))
    assert count(refresh(context, CHANGES["a truth corrected"][0])[0]) == (30, 0)
