"""The ledger of a study: which trials there are, what came of them, and what the user answered.

    <store>/tuning/<study>/study.json           what was asked (schemas/tuning.py, StudyRecord)
    <store>/tuning/<study>/journal.jsonl        trials: optuna's journal, which its tools read
    <store>/tuning/<study>/comparisons.jsonl    answers, oldest first

A trial is in the journal with all its settings before its run begins, in one write, and ends there
in another. So a kill loses none: one that was running is found running, and goes on under the same
settings and name. A study is named by the configuration's name and by a hash of whatever makes
equal settings equal trials; what may be changed without harm (how many trials, who is asked how
often) is no part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from perpo_core.store.keys import compute_hash
from perpo_core.store.lenient import Unreadable, parse_dropping
from perpo_core.store.lines import add_line, load_lines, parse_lines
from perpo_core.store.locks import locked
from perpo_core.store.provenance import utc_now
from perpo_core.store.store import Store
from perpo_core.tuning.objectives import Objective, list_objectives
from perpo_core.tuning.questions import Question
from perpo_core.tuning.ranges import Settings
from schemas.config import RefreshConfig
from schemas.tune_config import UserName
from schemas.tuning import Choice, Comparison, StudyRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from perpo_core.tuning.journal import Direction, Journal

FOLDER = "tuning"
STUDY_FILE, JOURNAL, COMPARISONS = "study.json", "journal.jsonl", "comparisons.jsonl"
NUM_KEY_DIGITS = 6
MAX_NAME = 63 - len("-012345-0000")  # what is left of a run's name
STUDY_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
FREE: dict[str, Any] = {
    "name": True, "store": True, "min_free_disk_gb": True, "promote": True,
    "tune": {"trials", "user", "compare", "comparisons", "rounds"},
}  # fmt: skip
"""Settings that leave a trial of the same settings what it is."""
RUN_NAME, RUN_ID, SAMPLES, ERROR, HOW = "run_name", "run_id", "samples", "error", "how"
State = Literal["running", "done", "failed"]
STATES: dict[str, State] = {"RUNNING": "running", "COMPLETE": "done", "FAIL": "failed"}
"""optuna's words for them."""


@dataclass(frozen=True)
class Trial:
    """One try of some settings, an ordinary run."""

    number: int
    name: str
    """Of its run."""
    settings: Settings
    state: State
    how: str
    """Drawn at random, or what the utility expected most of."""
    values: list[float] | None = None
    """Of the objectives, in their order, when it is done."""
    run_id: str | None = None
    error: str | None = None
    samples: str | None = None
    """Digest of the samples that it was measured on."""


class Study:
    """A study in a store."""

    def __init__(self, store: Store, record: StudyRecord) -> None:
        self.store, self.record = store, record
        self.objectives: list[Objective] = list_objectives(record.config)

    @property
    def name(self) -> str:
        return self.record.name

    @cached_property
    def _journal(self) -> Journal:
        from perpo_core.tuning.journal import Journal  # optuna is slow to import

        directions: list[Direction] = [
            "minimize" if objective.is_lower_better else "maximize" for objective in self.objectives
        ]
        return Journal(self.store, self._locate(JOURNAL), self.name, directions)

    def list_trials(self) -> list[Trial]:
        """All trials by number, as they stand now."""
        return [_read_trial(found) for found in self._journal.list_trials()]

    def begin(
        self, settings: Settings, distributions: Mapping[str, BaseDistribution], how: str
    ) -> Trial:
        """Note a new trial as running."""
        number = len(self.list_trials())
        attributes = {RUN_NAME: f"{self.name}-{number:03}", HOW: how}
        self._journal.begin(settings, distributions, attributes)
        begun = self.list_trials()[number]
        assert begun.settings == settings, "the journal keeps settings as they are"
        return begun

    def finish(self, trial: Trial, values: Sequence[float], run_id: str, samples: str) -> None:
        """Note what came of a trial; raises ValueError where the data are others than before."""
        known = {each.samples for each in self.list_trials() if each.state == "done"}
        if known - {samples}:
            raise ValueError(
                f"the data of study {self.name} have changed since its first trial, so that trials "
                "cannot be compared; set another name or tune.seed for a study of its own"
            )
        self._journal.end(trial.number, values, {RUN_ID: run_id, SAMPLES: samples})

    def fail(self, trial: Trial, error: str) -> None:
        """Note that a trial came to nothing, and why."""
        self._journal.end(trial.number, None, {ERROR: error})

    def load_comparisons(self, by: UserName) -> list[Comparison]:
        """What a user answered, oldest first."""
        lines = load_lines(self.store, self._locate(COMPARISONS), Comparison)
        return [each for each in lines if each.by == by]

    def answer(self, question: Question, choice: Choice, by: UserName) -> bool:
        """Keep an answer; False, and nothing is kept, if that question was answered meanwhile."""
        comparison = Comparison(
            first=list(question.first), second=list(question.second), choice=choice, by=by,
            at=utc_now(),
        )  # fmt: skip
        line = comparison.model_dump_json().encode() + b"\n"
        kept = False

        def add(body: bytes | None) -> bytes | None:
            nonlocal kept
            answered = [each for each in parse_lines(body, Comparison)[0] if each.by == by]
            kept = len(answered) == question.number
            return add_line(body, line) if kept else None

        with locked(self.store.root / self._locate(".lock")):
            self.store.update(self._locate(COMPARISONS), add)
        return kept

    def _locate(self, file: str) -> str:
        return locate(self.name, file)


def locate(study: str, file: str) -> str:
    """A study's file, as the store names it."""
    return f"{FOLDER}/{study}/{file}"


def _read_trial(found: FrozenTrial) -> Trial:
    attributes = found.user_attrs
    return Trial(
        number=found.number,
        name=attributes[RUN_NAME],
        settings=found.params,
        state=STATES[found.state.name],
        how=attributes[HOW],
        values=found.values,
        run_id=attributes.get(RUN_ID),
        error=attributes.get(ERROR),
        samples=attributes.get(SAMPLES),
    )


def compute_study_key(config: RefreshConfig, policy_digest: str) -> str:
    """Of all that makes two trials of the same settings the same; defaults are left out."""
    asked = config.model_dump(mode="json", exclude=FREE, exclude_defaults=True)
    return compute_hash({"config": asked, "policy": policy_digest})


def open_study(store: Store, config: RefreshConfig, policy_digest: str) -> Study:
    """The study of a configuration, begun if there is none yet.

    Raises ValueError for a name that is too long for its trials, or objectives that cannot be had.
    """
    if len(config.name) > MAX_NAME:
        raise ValueError(
            f"name = {config.name} has more than {MAX_NAME} characters, which its trials' names "
            "need; give a shorter one"
        )
    key = compute_study_key(config, policy_digest)
    name = f"{config.name}-{key[:NUM_KEY_DIGITS]}"
    record = StudyRecord(
        name=name, key=key, config=config, started_at=utc_now(),
        objectives=[objective.name for objective in list_objectives(config)],
    )  # fmt: skip
    found = find_study(store, name)
    if found is not None and found.record.key != key:
        raise ValueError(f"{store.place}/{FOLDER}/{name} is of another study; change name")
    if found is not None:
        record = record.model_copy(update={"started_at": found.record.started_at})
    store.write(locate(name, STUDY_FILE), record.model_dump_json(indent=2).encode())
    return Study(store, record)


def find_study(store: Store, name: str) -> Study | None:
    """A study by its name; None where there is none, or none that can be read."""
    file = locate(name, STUDY_FILE) if STUDY_NAME.fullmatch(name) else None
    body = store.read(file) if file else None
    if file is None or body is None:
        return None
    try:
        record, _ = parse_dropping(StudyRecord, body, "study")
        return Study(store, record)
    except (Unreadable, ValueError) as damage:
        store.leave_out(file, str(damage))
        return None


def list_studies(store: Store) -> list[Study]:
    """All that can be read, newest first."""
    files = [PurePath(name) for name in store.list_files(FOLDER, ".json")]
    found = [find_study(store, file.parent.name) for file in files if file.name == STUDY_FILE]
    return sorted(filter(None, found), key=lambda study: study.record.started_at, reverse=True)
