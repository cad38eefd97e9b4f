"""The pages of studies as HTML. Whatever a configuration says is escaped by the template engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Template

from perpo_core.report.style import build_environment, load_style
from perpo_core.tuning.page.pictures import Picture, draw
from perpo_core.tuning.questions import Question
from perpo_core.tuning.ranges import describe_value
from perpo_core.tuning.standing import Standing, compute_standing
from perpo_core.tuning.study import Study, Trial
from perpo_core.tuning.words import describe_utility

FOLDER = Path(__file__).parent
MEDIA_TYPES = {"tune.css": "text/css; charset=utf-8"}
"""Of what the pages load."""
CHOICES = (("first", "A"), ("second", "B"))


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    choice: str
    label: str
    trials: list[Trial]
    picture: Picture


@cache
def load_asset(name: str) -> bytes:
    """A file of MEDIA_TYPES."""
    return load_style().encode() + b"\n" + (FOLDER / name).read_bytes()


@cache
def _load_template(name: str) -> Template:
    return build_environment(FOLDER).get_template(name)


def render_study(study: Study) -> str:
    """Its next question, what was learned, and all trials."""
    standing = compute_standing(study)
    asks = standing.config.user == "person"
    question = standing.find_question() if asks else None
    front = {trial.number for trial in standing.front}
    return _load_template("study.html").render(
        study=study, standing=standing, asks=asks, question=question, front=front,
        sides=[] if question is None else _build_sides(standing, question),
        names=list(study.record.config.tune.ranges), words=describe_utility(standing),
        describe_value=describe_value,
    )  # fmt: skip


def render_list(studies: Sequence[Study]) -> str:
    """All studies of a store."""
    return _load_template("list.html").render(studies=studies)


def _build_sides(standing: Standing, question: Question) -> list[Side]:
    trials = {trial.number: trial for trial in standing.done}
    return [
        Side(choice, label, [trials[number] for number in numbers],
             draw(standing, numbers, f"Side {label}: {_name(numbers)}"))
        for (choice, label), numbers in zip(CHOICES, (question.first, question.second), strict=True)
    ]  # fmt: skip


def _name(numbers: Sequence[int]) -> str:
    """Such as "trial 3", "the front of trials 3, 5"."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    return f"the front of trials {', '.join(map(str, numbers))}"
