"""A candidate has to beat what is promoted, not only what it started from.

Policies here are folders with a number in them: how many of a hundred prompts they count rightly.
Sampling, scoring, intervals and gates are the real ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from perpo_core.policy.prompts import Prompt
from perpo_core.promotion.approvals import approve, find_answer
from perpo_core.promotion.history import list_moves
from perpo_core.promotion.pointer import load_history, load_promoted, roll_back
from perpo_core.stages import collect, evaluate, promote
from perpo_core.stages.generate import child, sampling
from perpo_core.stages.generate.engine import GREEDY_INDEX, Answer
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.keys import hash_folder
from perpo_core.store.provenance import as_parents
from schemas.artifact import Checkpoint, EvalReport, Promotion
from schemas.base import SPLITS
from schemas.run import PolicyRef, SamplingJob
from tests.perpo_core.round_fixture import build_record
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.evaluate.test_evaluate import commit_checkpoint

SECTIONS: dict[str, Any] = {
    "source": {
        "kind": "digits",
        "train": {"counting": 1},
        "selection": {},
        "validation": {"counting": 60},
        "test": {"counting": 10},
    },
    "generate": {"engine": "transformers", "max_tokens": 8, "processes": 1},
    "evaluate": {"num_samples": 2, "bootstrap_resamples": 200},
    "promote": {
        "min_gain": {"counting": {"sampled_reward": 0.0}},
        "max_loss": {"counting": {"greedy_reward": 0.02}},
    },
}
SKILL = "SKILL"


class SkilledEngine:
    """Counts rightly on as much of each split as its policy's skill says, in percent."""

    def __init__(self, job: SamplingJob, asked: list[str]) -> None:
        self._job, self._asked = job, asked
        self._skill = int((job.policy.folder / SKILL).read_text())
        columns = ["prompt_id", "split", "target"]
        rows = pq.read_table(job.samples.parts, columns=columns).to_pylist()
        self._truth = {row["prompt_id"]: row["target"]["count"] for row in rows}
        self._easy: set[str] = set()  # of more skill, the same ones and others
        for split in SPLITS:
            ids = sorted(row["prompt_id"] for row in rows if row["split"] == split)
            self._easy |= set(ids[: round(len(ids) * self._skill / 100)])

    waited_s = 0.0

    def sample(self, prompts: Iterator[Prompt]) -> Iterator[tuple[str, list[Answer]]]:
        self._asked.append(self._job.policy.digest)
        for prompt in prompts:
            yield prompt.prompt_id, self._answer(prompt.prompt_id)

    def _answer(self, prompt_id: str) -> list[Answer]:
        text = str(self._truth[prompt_id] + (0 if prompt_id in self._easy else 100))
        return [
            Answer(index, text, list(text.encode()), [-0.1] * len(text), "stop", 1)
            for index in range(GREEDY_INDEX, self._job.request.num_candidates)
        ]


def run_here(patch: pytest.MonkeyPatch, module: str, job: Any, *, on_event: Any, **_: Any) -> None:
    patch.setattr(child, "emit", lambda name, **fields: on_event({"event": name} | fields))
    child.make_shards(job)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests of the policies whose engines were asked for answers."""
    digests: list[str] = []
    monkeypatch.setattr(sampling, "run_child", partial(run_here, monkeypatch))
    monkeypatch.setattr(child, "build_engine", lambda job: SkilledEngine(job, digests))
    return digests


@pytest.fixture
def context(tmp_path: Path, asked: list[str]) -> StageContext:
    """A store with the samples, and the policy that every run starts from."""
    folder = build_policy(tmp_path, 30)
    start = PolicyRef(digest=hash_folder(folder), folder=folder)
    return replace(build_context(tmp_path, **SECTIONS), policy=start)


def build_policy(root: Path, skill: int) -> Path:
    folder = root / f"policy-{skill}"
    folder.mkdir()
    (folder / SKILL).write_text(str(skill))
    return folder


def measure(context: StageContext, skill: int) -> tuple[EvalReport, Checkpoint]:
    """A run that trained a policy of this skill from the start policy, up to its evaluation."""
    samples = find_or_make(context, collect).artifact
    folder = build_policy(context.store.root.parent, skill)
    checkpoint = commit_checkpoint(context, folder, f"skill {skill}")
    evaluation: EvalReport = find_or_make(context, evaluate, samples, checkpoint).artifact
    return evaluation, checkpoint


def conclude(context: StageContext, evaluation: EvalReport, checkpoint: Checkpoint) -> Promotion:
    promotion: Promotion = find_or_make(context, promote, evaluation, checkpoint).artifact
    return promotion


def configured(context: StageContext, **settings: Any) -> StageContext:
    changed = context.config.promote.model_copy(update=settings)
    return replace(context, config=context.config.model_copy(update={"promote": changed}))


def current(context: StageContext) -> str:
    pointer = load_promoted(context.store)
    return pointer.policy_digest if pointer else ""


def test_five_weaker_runs_do_not_take_the_pointer_from_the_best(context, asked) -> None:
    best = conclude(context, *measure(context, 80))
    assert best.promoted and best.champion_digest is None
    for skill in (75, 70, 65, 60, 50):
        evaluation, checkpoint = measure(context, skill)
        asked.clear()
        weaker = conclude(context, evaluation, checkpoint)
        assert asked == [], "the champion's answers were in the store"
        of_start = [gate for gate in weaker.gates if gate.against == "start"]
        of_champion = [gate for gate in weaker.gates if gate.against == "champion"]
        assert all(gate.passed for gate in of_start), "better than where it began, as seen"
        assert not any(gate.passed for gate in of_champion) and len(of_champion) == 2
        assert not weaker.promoted and weaker.champion_digest == best.policy_digest
        assert weaker.champion_metrics["counting"]["greedy_reward"].delta <= 0
    assert current(context) == best.policy_digest and len(load_history(context.store)) == 1


def test_a_better_one_takes_over_and_the_same_again_is_reused(context, asked) -> None:
    conclude(context, *measure(context, 50))
    evaluation, checkpoint = measure(context, 90)
    better = conclude(context, evaluation, checkpoint)
    assert better.promoted and current(context) == better.policy_digest
    measured = better.champion_validation["counting"]
    assert [gate.measured for gate in better.gates if gate.against == "champion"] == [
        measured["sampled_reward"].delta_low, measured["greedy_reward"].delta,
    ]  # fmt: skip
    assert better.parents[:2] == as_parents(evaluation, checkpoint)
    comparison = context.store.find("evaluation", better.parents[2].key)
    assert comparison is not None and comparison.validation == better.champion_validation
    again = find_or_make(context, promote, evaluation, checkpoint)
    assert again.reused and again.artifact == better
    run = build_record(context, "run-better", checkpoint, evaluation, better)
    gates = list_moves(context.store, [run])[-1].gates
    assert {gate.against for gate in gates} == {"start", "champion"}


def test_what_a_person_rolled_back_stays_so(context) -> None:
    first = conclude(context, *measure(context, 50))
    round_two = measure(context, 90)
    conclude(context, *round_two)
    roll_back(context.store, first.policy_digest)
    for force in (False, True):
        conclude(replace(context, force=force), *round_two)
        assert current(context) == first.policy_digest


@pytest.mark.parametrize(("mine", "theirs"), [(70, 90), (90, 70)])
def test_of_two_runs_that_end_at_once_the_better_one_stays(
    context, monkeypatch, mine: int, theirs: int
) -> None:
    my_round, their_round = measure(context, mine), measure(context, theirs)
    asked_for = promote.compute_key(context.config, context.policy, *my_round)
    before_settling(monkeypatch, lambda: conclude(context, *their_round))
    promotion = conclude(context, *my_round)
    assert promotion.promoted == (mine > theirs)
    assert promotion.champion_digest == their_round[1].policy_digest
    assert promotion.key != asked_for, "it is another question than the one it began with"
    best = my_round if mine > theirs else their_round
    assert current(context) == best[1].policy_digest
    monkeypatch.undo()


def before_settling(patch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Do something once, between a decision and the pointer's move."""
    settle = promote.settle

    def settle_later(*arguments: Any) -> None:
        patch.setattr(promote, "settle", settle)
        act()
        settle(*arguments)

    patch.setattr(promote, "settle", settle_later)


class Killed(BaseException):
    pass


def die() -> None:
    raise Killed


def test_a_kill_between_decision_and_pointer_is_made_up_for(context, monkeypatch) -> None:
    conclude(context, *measure(context, 50))
    round_two = measure(context, 90)
    before_settling(monkeypatch, die)
    with pytest.raises(Killed):
        conclude(context, *round_two)
    assert current(context) != round_two[1].policy_digest
    assert conclude(context, *round_two).promoted
    assert current(context) == round_two[1].policy_digest and len(load_history(context.store)) == 2


def test_a_kill_between_pointer_and_commit_moves_it_once(context, monkeypatch) -> None:
    conclude(context, *measure(context, 50))
    round_two = measure(context, 90)
    key = promote.compute_key(context.config, context.policy, *round_two)
    settle = promote.settle

    def settle_and_die(*arguments: Any) -> None:
        settle(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(promote, "settle", settle_and_die)
        with pytest.raises(Killed):
            conclude(context, *round_two)
    assert current(context) == round_two[1].policy_digest
    promotion = conclude(context, *round_two)
    assert promotion.key == key and promotion.promoted
    assert len(load_history(context.store)) == 2


def test_a_champion_that_is_gone_is_said_and_nothing_moves(context) -> None:
    champion = conclude(context, *measure(context, 50))
    pointer = load_promoted(context.store)
    assert pointer is not None and pointer.folder is not None
    shutil.rmtree(context.store.root / pointer.folder)
    said: list[str] = []
    round_two = measure(context, 90)
    held = conclude(replace(context, log=said.append), *round_two)
    assert not held.promoted and "cannot be compared" in (held.held or "")
    assert any("promote.without_champion = true" in line for line in said)
    assert current(context) == champion.policy_digest
    insisted = conclude(configured(context, without_champion=True), *round_two)
    assert insisted.promoted and current(context) == insisted.policy_digest


def test_a_damaged_champion_ends_the_stage(context) -> None:
    conclude(context, *measure(context, 50))
    pointer = load_promoted(context.store)
    assert pointer is not None and pointer.folder is not None
    (context.store.root / pointer.folder / SKILL).write_text("51")
    with pytest.raises(ValueError, match=r"cannot be compared: .* is no longer what was promoted"):
        conclude(context, *measure(context, 90))


def test_an_experiment_is_compared_and_moves_nothing(context) -> None:
    conclude(context, *measure(context, 50))
    before = current(context)
    tried = conclude(configured(context, enabled=False), *measure(context, 90))
    assert not tried.promoted and "promote.enabled = false" in (tried.held or "")
    assert all(gate.passed for gate in tried.gates) and len(tried.gates) == 4
    assert current(context) == before


def test_an_approval_given_after_a_promotion_compares_first(context) -> None:
    asking = configured(context, approval=True)
    evaluation, checkpoint = measure(context, 90)
    waiting = conclude(asking, evaluation, checkpoint)
    between = conclude(context, *measure(context, 50))
    run = build_record(asking, "late", checkpoint, evaluation, waiting)
    with pytest.raises(ValueError, match=r"not compared; `perpo rerun late --from promote`"):
        approve(context.store, run)
    assert current(context) == between.policy_digest
    assert find_answer(context.store, waiting) == "waiting"
    compared = conclude(asking, evaluation, checkpoint)
    assert compared.champion_digest == between.policy_digest
    approve(context.store, build_record(asking, "again", checkpoint, evaluation, compared))
    assert current(context) == checkpoint.policy_digest
