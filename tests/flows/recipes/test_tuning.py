"""Studies on toy stages: every trial an ordinary run, none lost or doubled, whatever ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import CancelledRun

from flows.runs.records import load_record, load_records
from perpo_core.configuration.load import override_config
from perpo_core.policy.resolve import resolve_policy
from perpo_core.promotion.pointer import load_promoted
from perpo_core.store.locks import lock_name
from perpo_core.store.store import Store
from perpo_core.tuning.questions import Question
from perpo_core.tuning.ranges import write_overrides
from perpo_core.tuning.standing import Standing, compute_standing
from perpo_core.tuning.study import Study, Trial, list_studies, open_study
from schemas.base import STAGES
from schemas.config import RefreshConfig
from schemas.run import RunRecord
from schemas.tune_config import TuneRange
from tests.flows.toy import install, write_policy
from tests.flows.toy_commands import ToyCommand
from tests.flows.toy_tune import build_config, compute_planted, plant, write_config

NUM_TRIALS, NUM_STARTUP = 4, 3
TUNE = {"trials": NUM_TRIALS, "startup": NUM_STARTUP, "comparisons": 2, "rounds": 1}


def ask_nobody(study: Study, standing: Standing, question: Question) -> None:
    raise AssertionError(f"a person was asked about {question} of {study.name} ({standing})")


def tune(config: RefreshConfig, **options: Any) -> Study:
    from flows.recipes.tuning import tune as flow

    return flow(config, options.pop("ask", ask_nobody), lambda said: None, **options)


def tell(study: Study) -> list[tuple[Any, ...]]:
    """What a trial is, without when it ran."""
    return [(t.number, t.name, t.settings, t.state, t.values, t.how) for t in study.list_trials()]


def list_made(record: RunRecord) -> list[str]:
    return [name for name, entry in record.stages.items() if not entry.reused]


def list_completed(store: Store, trial: Trial) -> list[str]:
    return [
        record.run_id
        for record in load_records(store)
        if record.config.name == trial.name and record.status == "completed"
    ]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RefreshConfig:
    """A study of two settings that pull grounding and OCR apart, in a store of its own."""
    install(monkeypatch.setitem)
    plant(monkeypatch.setitem)
    return build_config(tmp_path / "store", write_policy(tmp_path / "policy"), **TUNE)


def change(config: RefreshConfig, **tune: Any) -> RefreshConfig:
    return config.model_copy(update={"tune": config.tune.model_copy(update=tune)})


@pytest.mark.usefixtures("prefect_server")
def test_every_trial_is_a_run_with_its_report_and_nothing_is_promoted(
    planted: RefreshConfig,
) -> None:
    from flows.recipes.refresh import refresh

    study, store = tune(planted), Store(planted.store)
    trials = study.list_trials()
    assert [trial.state for trial in trials] == ["done"] * NUM_TRIALS
    assert [trial.how for trial in trials] == ["random"] * NUM_STARTUP + ["utility"]
    for trial in trials:
        assert trial.run_id is not None
        record = load_record(store, trial.run_id)
        assert record.config.name == trial.name and record.status == "completed"
        assert "promote" not in record.stages and "evaluate" in record.stages
        assert record.report is not None and (store.root / record.report).is_file()
        beta, gamma = trial.settings["train.beta"], trial.settings["train.gamma"]
        assert (record.config.train.beta, record.config.train.gamma) == (beta, gamma)
        assert trial.values == list(compute_planted(float(beta), float(gamma)))
        assert list_made(record) == (["train", "evaluate"] if trial.number else [*STAGES[:-1]])
    assert load_promoted(store) is None
    standing = compute_standing(study)
    assert standing.num_answered == TUNE["comparisons"]

    told = tell(study)
    assert tell(tune(planted)) == told
    more = tune(change(planted, trials=NUM_TRIALS + 1))
    assert tell(more)[:NUM_TRIALS] == told and len(tell(more)) == NUM_TRIALS + 1
    assert len(load_records(store)) == NUM_TRIALS + 1, "one a trial, and none made twice"

    assert standing.chosen is not None
    chosen = override_config(planted, write_overrides(standing.chosen.settings))
    assert list_made(refresh(chosen)) == ["promote"], "what is chosen is there already"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_an_interrupted_study_goes_on_as_it_would_have(planted: RefreshConfig) -> None:
    from flows.recipes.tuning import tune as flow

    store = Store(planted.store)
    wish = store.root.parent / "break-train"

    def interrupt_the_second(said: str) -> None:
        if said.startswith("trial 1 ("):
            wish.write_text("interrupt")

    with pytest.raises((KeyboardInterrupt, CancelledRun)):
        flow(planted, ask_nobody, interrupt_the_second)
    wish.unlink()
    [study] = list_studies(store)
    assert [trial.state for trial in study.list_trials()] == ["done", "running"]
    finished = tell(tune(planted))

    elsewhere = planted.model_copy(update={"store": store.root.parent / "undisturbed"})
    assert tell(tune(elsewhere)) == finished
    assert all(len(list_completed(store, trial)) == 1 for trial in study.list_trials())


@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_ended_before_the_ledger_was_told_is_not_made_again(
    planted: RefreshConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    config, store = change(planted, trials=2, startup=2), Store(planted.store)
    with monkeypatch.context() as patch:
        patch.setattr("flows.recipes.tuning.finish", die)
        with pytest.raises(KeyboardInterrupt):
            tune(config)
    [record] = load_records(store)
    study = tune(config)
    assert study.list_trials()[0].run_id == record.run_id
    assert len(load_records(store)) == 2


@pytest.mark.usefixtures("prefect_server")
def test_a_trial_that_fails_is_told_and_the_study_goes_on(planted: RefreshConfig) -> None:
    from flows.recipes.tuning import tune as flow

    wish = Path(planted.store).parent / "break-train"
    wish.write_text("input")
    said: list[str] = []

    def mend(line: str) -> None:
        said.append(line)
        if line.startswith("trial 0 failed"):
            wish.unlink()

    failed, done = flow(change(planted, trials=2, startup=2), ask_nobody, mend).list_trials()
    assert failed.state == "failed" and "told to fail" in (failed.error or "")
    assert done.state == "done"
    assert f"trial 0 failed: {failed.error}" in said


@pytest.mark.usefixtures("prefect_server")
def test_where_nothing_works_the_study_stops(planted: RefreshConfig) -> None:
    (Path(planted.store).parent / "break-train").write_text("input")
    with pytest.raises(ValueError, match="toy train was told to fail"):
        tune(planted)
    [study] = list_studies(Store(planted.store))
    assert [trial.state for trial in study.list_trials()] == ["failed"] * 3


@pytest.mark.usefixtures("prefect_server")
def test_settings_that_contradict_each_other_fail_alone(planted: RefreshConfig) -> None:
    ranges = {"train.batch_lists": TuneRange(choices=[1, 8]),
              "train.processes": TuneRange(choices=[1, 2])}  # fmt: skip
    config = change(planted, ranges=ranges, objectives=["ocr.edit_distance"], trials=9)
    trials = {tuple(trial.settings.values()): trial for trial in tune(config).list_trials()}
    assert len(trials) == 4, "all that there is to try"
    assert trials[1, 2].state == "failed"
    assert "must be at least processes" in str(trials[1, 2].error)
    assert all(trial.state == "done" for key, trial in trials.items() if key != (1, 2))


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_person_is_asked_what_is_wanted_and_no_more(planted: RefreshConfig) -> None:
    asked: list[Question] = []

    def prefer_grounding(study: Study, standing: Standing, question: Question) -> None:
        asked.append(question)
        first, second = (standing.take(side)[0][0] for side in (question.first, question.second))
        assert study.answer(question, "first" if first > second else "second", "person")

    study = tune(change(planted, user="person"), ask=prefer_grounding)
    standing = compute_standing(study)
    assert [question.number for question in asked] == [0, 1]
    assert standing.num_wanted == 2 and standing.num_agreeing == 2
    told = [(each.first, each.second) for each in standing.comparisons]
    assert told == [([*question.first], [*question.second]) for question in asked]


def test_nothing_is_tried_that_could_not_be_judged(planted: RefreshConfig) -> None:
    for changed, said in (
        ({"ranges": {}}, "tune.ranges is empty"),
        ({"objectives": ["ocr.acc"]}, "ocr has no metric acc"),
    ):
        with pytest.raises(ValueError, match=said):
            tune(change(planted, **changed))
    store = Store(planted.store)
    digest = resolve_policy(planted.policy, store).digest
    study = open_study(store, planted, digest)
    with lock_name(store, study.name), pytest.raises(ValueError, match="is going on"):
        tune(planted)
    assert study.list_trials() == [] and load_records(store) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_9_in_the_middle_loses_no_trial_and_doubles_none(tmp_path: Path) -> None:
    """Of the real command, three times at different moments, against one that nobody disturbed."""
    policy = write_policy(tmp_path / "policy")
    undisturbed, killed = tmp_path / "undisturbed" / "store", tmp_path / "killed" / "store"
    for store in (undisturbed, killed):
        store.parent.mkdir()
    configs = [
        write_config(store.parent, store, policy, **TUNE, user="hypervolume")
        for store in (undisturbed, killed)
    ]
    build_command(configs[0]).run()

    def has_begun(number: int) -> Callable[[], bool]:
        return lambda: len(list_trials(killed)) > number

    def trains(number: int) -> Callable[[], bool]:
        return lambda: any(
            record.config.name.endswith(f"-{number:03}") and "materialize" in record.stages
            for record in load_records(Store(killed))
        )

    for condition in (has_begun(0), trains(2), has_begun(NUM_STARTUP)):
        build_command(configs[1]).kill_when(condition)
    build_command(configs[1]).run()
    [expected], [study] = list_studies(Store(undisturbed)), list_studies(Store(killed))
    assert tell(study) == tell(expected)
    assert [trial.state for trial in study.list_trials()] == ["done"] * NUM_TRIALS
    standing, other = compute_standing(study), compute_standing(expected)
    assert standing.comparisons and standing.chosen is not None and other.chosen is not None
    assert standing.chosen.settings == other.chosen.settings
    assert [(c.first, c.second, c.choice) for c in standing.comparisons] == [
        (c.first, c.second, c.choice) for c in other.comparisons
    ]
    for trial in study.list_trials():
        assert list_completed(Store(killed), trial) == [trial.run_id]


def list_trials(store: Path) -> list[Trial]:
    return [trial for study in list_studies(Store(store)) for trial in study.list_trials()]


def build_command(config: Path) -> ToyCommand:
    return ToyCommand(
        "tests.flows.toy_tune", ["tune", str(config), "--no-browser"], config.with_suffix(".log")
    )
