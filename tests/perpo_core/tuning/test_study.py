"""The ledger: no trial is lost or doubled, whatever is killed, and nothing else is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perpo_core.store.left_out import forget_left_out, list_left_out
from perpo_core.store.store import Store
from perpo_core.tuning.questions import Question
from perpo_core.tuning.ranges import build_distributions
from perpo_core.tuning.standing import compute_standing
from perpo_core.tuning.study import (
    compute_study_key,
    find_study,
    list_studies,
    locate,
    open_study,
)
from schemas.config import RefreshConfig
from tests.perpo_core.tuning.studies import (
    OBJECTIVES,
    POLICY,
    SAMPLES,
    begin_next,
    build_config,
    build_study,
    finish,
)
from tests.s3 import Machines

VALUES = [(0.5, 0.4), (0.7, 0.6), (0.2, 0.1)]


def test_another_process_finds_the_trials_as_they_are(tmp_path: Path) -> None:
    study = build_study(tmp_path, VALUES)
    begin_next(study)
    found = find_study(Store(tmp_path), study.name)
    assert found is not None and found.record == study.record
    trials = found.list_trials()
    assert trials == study.list_trials()
    assert [trial.state for trial in trials] == ["done", "done", "done", "running"]
    assert [trial.values for trial in trials] == [*map(list, VALUES), None]
    assert [trial.name for trial in trials] == [f"{study.name}-{n:03}" for n in range(4)]
    assert trials[3].settings.keys() == {"train.beta", "train.gamma"}


def test_looking_writes_nothing(tmp_path: Path) -> None:
    empty = build_study(tmp_path / "empty", [])
    assert empty.list_trials() == []
    assert not (tmp_path / "empty" / locate(empty.name, "journal.jsonl")).exists()
    study = build_study(tmp_path, VALUES)
    journal = tmp_path / locate(study.name, "journal.jsonl")
    before = journal.read_bytes()
    for found in (find_study(Store(tmp_path), study.name), *list_studies(Store(tmp_path))):
        assert found is not None and len(found.list_trials()) == 3
        compute_standing(found)
    assert journal.read_bytes() == before


def test_a_running_trial_goes_on_under_its_settings_and_name(tmp_path: Path) -> None:
    study = build_study(tmp_path, VALUES)
    begin_next(study)
    before = study.list_trials()[3]
    again = open_study(Store(tmp_path), study.record.config, POLICY)
    assert compute_standing(again).running == before
    finish(again, 3, (0.3, 0.3))
    assert compute_standing(again).running is None
    assert again.list_trials()[3].settings == before.settings
    assert len(again.list_trials()) == 4


def test_a_trial_is_begun_in_one_write_with_all_that_it_tries(tmp_path: Path) -> None:
    """Cut off behind any line, the journal holds no trial without its settings."""
    study = build_study(tmp_path, VALUES[:1])
    journal = tmp_path / locate(study.name, "journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines) + 1):
        journal.write_bytes(b"".join(lines[:kept]))
        found = find_study(Store(tmp_path), study.name)
        assert found is not None
        for trial in found.list_trials():
            assert trial.settings.keys() == {"train.beta", "train.gamma"}
            assert trial.state in ("running", "done")
    assert study.list_trials()[0].state == "done"


def test_an_answer_is_kept_once(tmp_path: Path) -> None:
    study = build_study(tmp_path, VALUES, user="person")
    other = find_study(Store(tmp_path), study.name)
    question = compute_standing(study).find_question()
    assert question is not None and other is not None
    assert study.answer(question, "first", "person")
    assert not other.answer(question, "second", "person"), "the page was slower"
    [kept] = other.load_comparisons("person")
    assert (tuple(kept.first), tuple(kept.second)) == (question.first, question.second)
    assert kept.choice == "first"
    assert study.load_comparisons("hypervolume") == [], "another user said nothing"
    further = compute_standing(study).find_question()
    assert further is not None and further.number == 1 and further != question


def test_a_comparison_of_trials_that_are_gone_counts_for_nothing(tmp_path: Path) -> None:
    study = build_study(tmp_path, VALUES)
    study.answer(Question(0, (7,), (9,)), "first", "hypervolume")
    standing = compute_standing(study)
    assert standing.preferences == [] and standing.num_answered == 1
    question = standing.find_question()
    assert question is not None and study.answer(question, "same", "hypervolume")


def test_what_a_trial_failed_of_is_kept_and_counts(tmp_path: Path) -> None:
    study = build_study(tmp_path, VALUES[:1])
    begin_next(study)
    study.fail(study.list_trials()[1], "out of memory")
    trial = study.list_trials()[1]
    assert (trial.state, trial.error, trial.values) == ("failed", "out of memory", None)
    assert compute_standing(study).num_ended == 2


def test_other_data_are_refused(tmp_path: Path) -> None:
    study = build_study(tmp_path, VALUES[:1])
    begin_next(study)
    with pytest.raises(ValueError, match=r"the data of study planted-\w+ have changed"):
        study.finish(study.list_trials()[1], (0.1, 0.2), "run", "c" * 64)
    study.finish(study.list_trials()[1], (0.1, 0.2), "run", SAMPLES)


def change(config: RefreshConfig, section: str, **values: Any) -> RefreshConfig:
    part = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: part})


def test_a_study_is_named_by_what_makes_its_trials(tmp_path: Path) -> None:
    config = build_config()
    key = compute_study_key(config, POLICY)
    for free in ({"trials": 99}, {"user": "r2"}, {"comparisons": 3}, {"rounds": 1}):
        assert compute_study_key(change(config, "tune", **free), POLICY) == key
    assert compute_study_key(config.model_copy(update={"name": "other"}), POLICY) == key
    assert compute_study_key(config, "c" * 64) != key
    for section, values in (
        ("tune", {"seed": 1}), ("tune", {"objectives": OBJECTIVES[:1]}), ("tune", {"startup": 7}),
        ("tune", {"split": "selection"}), ("tune", {"optimiser": "random"}),
        ("train", {"learning_rate": 1e-3}), ("lists", {"list_size": 4}),
    ):  # fmt: skip
        assert compute_study_key(change(config, section, **values), POLICY) != key, values
    study = open_study(Store(tmp_path), config, POLICY)
    assert study.name == f"planted-{key[:6]}"
    with pytest.raises(ValueError, match="more than 51 characters"):
        open_study(Store(tmp_path), config.model_copy(update={"name": "x" * 52}), POLICY)
    longest = open_study(Store(tmp_path), config.model_copy(update={"name": "x" * 51}), POLICY)
    trial = longest.begin(
        {"train.beta": 0.1, "train.gamma": 1.0}, build_distributions(config), "random"
    )
    assert RefreshConfig(name=trial.name).name == f"{longest.name}-000"


def test_the_latest_configuration_is_the_one_that_pages_see(tmp_path: Path) -> None:
    study = build_study(tmp_path, VALUES)
    more = change(study.record.config, "tune", trials=40)
    again = open_study(Store(tmp_path), more, POLICY)
    assert again.record.started_at == study.record.started_at
    [listed] = list_studies(Store(tmp_path))
    assert listed.record.config.tune.trials == 40


@pytest.mark.parametrize("name", ["..", "../runs", "", "x/y", "X", "no-such", "\0", "x" * 300])
def test_what_is_no_study_is_not_found(name: str, tmp_path: Path) -> None:
    build_study(tmp_path, VALUES[:1])
    assert find_study(Store(tmp_path), name) is None


def test_a_damaged_study_is_named_and_left_out(tmp_path: Path) -> None:
    study = build_study(tmp_path, VALUES[:1])
    (tmp_path / locate(study.name, "study.json")).write_text('{"name": 3')
    forget_left_out()
    assert list_studies(Store(tmp_path)) == []
    [said] = list_left_out()
    assert "study.json" in said and "not whole JSON" in said
    forget_left_out()


def test_a_damaged_journal_is_one_sentence(tmp_path: Path) -> None:
    study = build_study(tmp_path, VALUES[:1])
    journal = tmp_path / locate(study.name, "journal.jsonl")
    journal.write_bytes(journal.read_bytes()[:-5])
    found = find_study(Store(tmp_path), study.name)
    assert found is not None
    with pytest.raises(ValueError, match=r"journal\.jsonl is damaged .*restore it from a backup"):
        found.list_trials()


def test_the_journal_is_optunas_own(tmp_path: Path) -> None:
    """Its tools, such as the dashboard, read the file as it is."""
    from optuna import load_study
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    study = build_study(tmp_path, VALUES)
    path = tmp_path / locate(study.name, "journal.jsonl")
    found = load_study(study_name=study.name, storage=JournalStorage(JournalFileBackend(str(path))))
    assert [trial.values for trial in found.trials] == [list(each) for each in VALUES]
    assert [direction.name for direction in found.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_study_in_a_bucket_is_seen_by_another_machine(machines: Machines) -> None:
    study = open_study(machines.open("one"), build_config(), POLICY)
    begin_next(study)
    finish(study, 0, (0.5, 0.4))
    found = find_study(machines.open("two"), study.name)
    assert found is not None
    assert [trial.values for trial in found.list_trials()] == [[0.5, 0.4]]
    begin_next(found)
    assert found.answer(Question(0, (0,), (1,)), "same", "person")
    again = find_study(machines.open("one"), study.name)
    assert again is not None and [t.state for t in again.list_trials()] == ["done", "running"]
    assert len(again.load_comparisons("person")) == 1
