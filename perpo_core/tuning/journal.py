"""The trials of a study in optuna's journal, which is a small file of the store.

It is written whole or not at all, in a folder or a bucket, and optuna's own tools read it. Left
out: several writers at once; who tunes holds the study's name (perpo_core/store/locks.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from perpo_core.store.store import Store
from perpo_core.tuning.ranges import Settings

Direction = Literal["maximize", "minimize"]

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of every study on stderr


class StoreJournal(BaseJournalBackend):
    """What optuna's JournalStorage reads and adds, one JSON object a line."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """The entries from that number on; raises ValueError if one is damaged."""
        lines = (self._store.read(self._name) or b"").splitlines()
        try:
            return [json.loads(line) for line in lines[log_number_from:]]
        except ValueError as error:
            raise ValueError(
                f"{self._store.place}/{self._name} is damaged ({error}); restore it from a backup, "
                "or move its folder away: the trials' runs stay, and what they made is reused"
            ) from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add entries, all at once."""
        added = b"".join(json.dumps(log).encode() + b"\n" for log in logs)
        self._store.update(self._name, lambda body: (body or b"") + added)


class Journal:
    """One study's trials. Looking writes nothing: a page looks while trials go on."""

    def __init__(
        self, store: Store, file: str, study: str, directions: Sequence[Direction]
    ) -> None:
        self._storage = JournalStorage(StoreJournal(store, file))
        self._name, self._directions = study, directions

    @cached_property
    def _study(self) -> optuna.Study:
        """Made where there is none yet; optuna's own load_if_exists would add a line each time."""
        if self._name in {study.study_name for study in self._storage.get_all_studies()}:
            return optuna.load_study(study_name=self._name, storage=self._storage)
        return optuna.create_study(
            study_name=self._name, storage=self._storage, directions=self._directions
        )

    def list_trials(self) -> list[FrozenTrial]:
        """By number, as they are now."""
        return self._study.get_trials(deepcopy=False) if self._storage.get_all_studies() else []

    def begin(
        self,
        settings: Settings,
        distributions: Mapping[str, BaseDistribution],
        attributes: Mapping[str, str],
    ) -> None:
        """Add a running trial with all that is known of it, in one write."""
        trial = create_trial(
            state=TrialState.RUNNING,
            params=dict(settings),
            distributions=dict(distributions),
            user_attrs=dict(attributes),
        )
        self._storage.create_new_trial(self._study._study_id, trial)

    def end(
        self, number: int, values: Sequence[float] | None, attributes: Mapping[str, str]
    ) -> None:
        """Note what came of a trial; None: nothing."""
        trial_id = self.list_trials()[number]._trial_id
        for name, value in attributes.items():
            self._storage.set_trial_user_attr(trial_id, name, value)
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        self._storage.set_trial_state_values(trial_id, state, values)
