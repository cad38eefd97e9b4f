"""Where a study stands: its trials' values in one scale, what was learned, and what is best so far.

Everything follows from the ledger, so that the same trials and answers always give the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perpo_core.tuning.fronts import Values, find_front
from perpo_core.tuning.objectives import Objective, orient
from perpo_core.tuning.questions import (
    Question,
    build_pair,
    count_wanted,
    divide,
    find_pair,
)
from perpo_core.tuning.study import Study, Trial
from perpo_core.tuning.users import INDICATORS
from perpo_core.tuning.utility import (
    Preference,
    Scale,
    Utility,
    build_scale,
    learn_utility,
)
from schemas.tune_config import TuneConfig
from schemas.tuning import Comparison


@dataclass(frozen=True)
class Standing:
    """A study at one moment. N done trials, M objectives."""

    config: TuneConfig
    objectives: Sequence[Objective]
    trials: Sequence[Trial]
    """All, by number."""
    done: Sequence[Trial]
    """Those that were measured [N]."""
    scale: Scale | None
    """None while no trial is done."""
    scaled_NM: Values
    """What the done trials have, more being better."""
    comparisons: Sequence[Comparison]
    """The user's, of done trials."""
    num_answered: int
    """All of the user's."""
    utility: Utility

    @property
    def num_ended(self) -> int:
        return sum(trial.state != "running" for trial in self.trials)

    @property
    def running(self) -> Trial | None:
        return next((trial for trial in self.trials if trial.state == "running"), None)

    @property
    def utilities_N(self) -> Values:
        """What the done trials are worth, as far as was learned."""
        return self.utility.compute(self.scaled_NM)

    @property
    def front(self) -> list[Trial]:
        """Done trials that no other one is better than in every objective."""
        return [self.done[row] for row in find_front(self.scaled_NM)]

    @property
    def chosen(self) -> Trial | None:
        """The one of the front that is worth most; of equals the first. None while none is done."""
        worth = dict(zip((trial.number for trial in self.done), self.utilities_N, strict=True))
        return max(self.front, key=lambda trial: worth[trial.number], default=None)

    @property
    def num_agreeing(self) -> int:
        """How many of the preferences the learned utility shares."""
        return sum(self.utility.prefers(*each) > 0 for each in self.preferences)

    @property
    def preferences(self) -> list[Preference]:
        """The comparisons that preferred one side."""
        return _list_preferences(self.comparisons, self.done, self.scaled_NM)

    def take(self, numbers: Sequence[int]) -> Values:
        """The scaled values [numbers, M] of some done trials."""
        return _take(self.done, self.scaled_NM, numbers)

    def rate(self, numbers: Sequence[int]) -> float | None:
        """How good some done trials are together to a simulated user; None for a person."""
        indicator = INDICATORS.get(self.config.user)
        return None if indicator is None else indicator(self.take(numbers))

    @property
    def num_wanted(self) -> int:
        """How many comparisons there should be by now."""
        return count_wanted(self.config, self.num_ended)

    def find_question(self) -> Question | None:
        """What the user is asked next, whether or not it is wanted yet; None if nothing is left."""
        number = self.num_answered
        sides = [(each.first, each.second) for each in self.comparisons]
        asked = {build_pair(*(_find_rows(self.done, side) for side in each)) for each in sides}
        if self.config.compare == "fronts":
            rows = divide(self.scaled_NM, self.config.seed, number, asked)
        else:
            pair = find_pair(self.scaled_NM, self.utility, asked)
            rows = None if pair is None else ([pair[0]], [pair[1]])
        if rows is None:
            return None
        first, second = (tuple(self.done[row].number for row in side) for side in rows)
        return Question(number, first, second)


def compute_standing(study: Study, config: TuneConfig | None = None) -> Standing:
    """Of a study now; `config` where it is another than the one that was recorded last."""
    config = config or study.record.config.tune
    trials = study.list_trials()
    done = [trial for trial in trials if trial.values is not None]
    values_NM = orient(study.objectives, [trial.values or [] for trial in done])
    scale = _choose_scale(config, done, values_NM)
    scaled_NM = values_NM if scale is None else scale.apply(values_NM)
    numbers = {trial.number for trial in done}
    answered = study.load_comparisons(config.user)
    comparisons = [a for a in answered if numbers.issuperset([*a.first, *a.second])]
    preferences = _list_preferences(comparisons, done, scaled_NM)
    utility = learn_utility(preferences, len(study.objectives))
    return Standing(
        config, study.objectives, trials, done, scale, scaled_NM, comparisons, len(answered),
        utility,
    )  # fmt: skip


def _choose_scale(config: TuneConfig, done: Sequence[Trial], values_NM: Values) -> Scale | None:
    """That of the first trials, so that it stays; of all where every one of those failed."""
    if not done:
        return None
    is_first_N = np.array([trial.number < config.startup for trial in done])
    return build_scale(values_NM[is_first_N] if is_first_N.any() else values_NM)


def _list_preferences(
    comparisons: Sequence[Comparison], done: Sequence[Trial], scaled_NM: Values
) -> list[Preference]:
    sides = [
        (_take(done, scaled_NM, each.first), _take(done, scaled_NM, each.second), each.choice)
        for each in comparisons
        if each.choice != "same"
    ]
    return [(a, b) if choice == "first" else (b, a) for a, b, choice in sides]


def _find_rows(done: Sequence[Trial], numbers: Sequence[int]) -> list[int]:
    rows = {trial.number: row for row, trial in enumerate(done)}
    return [rows[number] for number in numbers]


def _take(done: Sequence[Trial], scaled_NM: Values, numbers: Sequence[int]) -> Values:
    taken: Values = scaled_NM[_find_rows(done, numbers)]
    return taken
