"""Has a study's user asked what is wanted by now: a person through `ask`, a simulated one here."""

from __future__ import annotations

from collections.abc import Callable

from perpo_core.tuning.questions import Question
from perpo_core.tuning.standing import Standing, compute_standing
from perpo_core.tuning.study import Study
from perpo_core.tuning.users import INDICATORS, choose

Ask = Callable[[Study, Standing, Question], None]
"""Returns when the question is answered, by whomever (Study.answer)."""


def have_answered(study: Study, ask: Ask) -> Standing:
    """Have every question answered that is wanted by now; how the study stands then."""
    while True:
        standing = compute_standing(study)
        question = standing.find_question()
        if question is None or question.number >= standing.num_wanted:
            return standing
        if standing.config.user in INDICATORS:
            simulate(study, standing, question)
        else:
            ask(study, standing, question)


def simulate(study: Study, standing: Standing, question: Question) -> None:
    """Answer as the study's simulated user does."""
    user = standing.config.user
    sides = standing.take(question.first), standing.take(question.second)
    study.answer(question, choose(INDICATORS[user], *sides), user)
