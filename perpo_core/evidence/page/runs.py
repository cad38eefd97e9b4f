"""Which run a number comes from: its report lies beside this page, under the run's own name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import JsonValue

from schemas.comparison import ComparisonCosts, MethodResult, TrialCost


@dataclass(frozen=True)
class Runs:
    """Trials by what asks for them."""

    trials: tuple[TrialCost, ...]

    @classmethod
    def of(cls, costs: ComparisonCosts) -> Runs:
        return cls(tuple(costs.trials))

    def list_judged(self, method: str) -> list[TrialCost]:
        """Of one method, by seed."""
        found = [each for each in self.trials if (each.method, each.part) == (method, "judged")]
        return sorted(found, key=lambda trial: trial.seed)

    def list_sweep(self, method: str) -> list[TrialCost]:
        """Of one method, in the order in which they were tried."""
        return [each for each in self.trials if (each.method, each.part) == (method, "sweep")]

    def find_seed(self, method: str, seed: int) -> str | None:
        """The report of a judged run, relative to the page; None: no such run is known."""
        found = [trial for trial in self.list_judged(method) if trial.seed == seed]
        return link_run(found[0]) if found else None

    def find_setting(self, method: str, settings: Mapping[str, JsonValue]) -> str | None:
        """The report of a trial of the sweep; None for one that failed, which has no record."""
        found = [trial for trial in self.list_sweep(method) if trial.settings == dict(settings)]
        return link_run(found[0]) if found else None


def link_run(trial: TrialCost) -> str:
    """The run's report, relative to <store>/reports/compare-NAME/."""
    return f"../{quote(trial.run_id, safe='')}/report.html"


def link_list(method: MethodResult) -> str:
    """Where the page lists the runs of a method."""
    return f"#runs-{method.name}"
