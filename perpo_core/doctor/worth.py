"""What a truth is worth as an answer, beside no answer and another row's truth."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.naming import describe_rows
from perpo_core.perception.boxes import Frame
from perpo_core.perception.judging import Judge, Judgement
from perpo_core.perception.rewards import Item, Target
from perpo_core.perception.rewards.base import list_truths
from perpo_core.perception.tasks import TASKS, Task, WrittenTruth
from perpo_core.perception.truths.row import show_value
from schemas.base import TaskName

EQUAL = 1e-6  # arithmetic of boxes in 0-1 leaves less
FEW = 10  # fewer truths may be alike by chance
MOST = 0.5  # of the rows: that some truths hold for other rows too is no fault (yes and no)


@dataclass(frozen=True)
class SampledRow:
    """What is judged of a row."""

    row: str
    target: Target
    frame: Frame


@dataclass(frozen=True)
class Question:
    """A row with the answers that it is given."""

    row: SampledRow
    truth: WrittenTruth
    other: str | None
    """The truth of another row; None where that is right here, too."""


@dataclass(frozen=True)
class Scale:
    """One way to say what an answer is worth."""

    name: str
    judge: Judge


@dataclass(frozen=True)
class Worth:
    """What the answers to one question are worth."""

    question: Question
    truth: Judgement
    nothing: float
    other: float | None


def ask(name: TaskName, rows: Sequence[SampledRow], box_format: str) -> list[Question]:
    """Each row with its own truth and that of another, always the same one."""
    order = list(range(len(rows)))
    random.Random(len(rows)).shuffle(order)
    # Each row has the next one's truth, in one circle: never its own.
    next_of = dict(zip(order, order[1:] + order[:1], strict=True))
    task = TASKS[name]
    return [_ask(task, row, rows[next_of[n]], box_format) for n, row in enumerate(rows)]


def _ask(task: Task, row: SampledRow, other: SampledRow, box_format: str) -> Question:
    def write(target: Target) -> str:
        # In this row's frame, where the other's numbers would mean another place.
        return task.write_truth(target, box_format, row.frame).text

    alone = {**row.target, "others": None}
    accepted = {write(truth) for truth in [alone, *list_truths(row.target)]}  # type: ignore[arg-type]
    answer = write(other.target)
    truth = task.write_truth(row.target, box_format, row.frame)
    return Question(row, truth, None if answer in accepted else answer)


def weigh(name: TaskName, questions: Sequence[Question], scale: Scale) -> list[Worth]:
    """What the answers to each question are worth."""

    def judge(texts: Sequence[str]) -> list[Judgement]:
        pairs = zip(texts, (question.row for question in questions), strict=True)
        return scale.judge.judge_many([Item(text, name, r.target, r.frame) for text, r in pairs])

    columns = zip(
        questions,
        judge([question.truth.text for question in questions]),
        judge([""] * len(questions)),
        judge([question.other or "" for question in questions]),
        strict=True,
    )
    return [
        Worth(question, truth, nothing.value, None if question.other is None else other.value)
        for question, truth, nothing, other in columns
    ]


def report(
    name: TaskName, box_format: str, worths: Sequence[tuple[Scale, list[Worth]]]
) -> Iterator[Finding]:
    """All findings of a task: what is wrong, what is doubtful, else one line of figures."""
    (measure, by_measure), *_ = worths
    bad = {w.question.row.row: w for w in by_measure if _is_short(w)}
    yield from _report_bad(measure, list(bad.values()), _advise(TASKS[name], box_format))
    wrong = bool(bad)
    for scale, found in worths[1:]:
        # The reward may be less than 1 for many a reason, but it has to read the truth.
        unread = [w for w in found if w.truth.error and w.question.row.row not in bad]
        advice = f"choose a reward for {scale.name} that reads such truths, or mend them"
        yield from _report_bad(scale, unread, advice)
        wrong = wrong or bool(unread)
    if not wrong:
        for scale, found in worths:
            yield from _report_ties(name, scale, found)
        yield from _report_sameness(name, by_measure)
        yield Finding("ok", f"source: {_describe(name, worths)}")


def _is_short(worth: Worth) -> bool:
    """Whether the measure gives a truth less than all that the box format or votes leave."""
    return bool(worth.truth.error) or worth.truth.value < worth.question.truth.least - EQUAL


def _advise(task: Task, box_format: str) -> str:
    if task.read_shapes:
        return f"choose a policy.box_format that holds it, which {box_format} does not"
    return "write the truth so that an answer can say it, or remove the row"


def _report_bad(scale: Scale, bad: Sequence[Worth], advice: str) -> Iterator[Finding]:
    if bad:
        what = describe_rows([(w.question.row.row, _say_bad(w, scale)) for w in bad], advice)
        yield Finding("error", f"source: {what}")


def _say_bad(worth: Worth, scale: Scale) -> str:
    why = f" ({worth.truth.error})" if worth.truth.error else ""
    return (
        f"has a truth that as an answer, {show_value(worth.question.truth.text)}, is worth "
        f"{worth.truth.value:.2f} by {scale.name}{why}"
    )


def _report_ties(name: TaskName, scale: Scale, worths: Sequence[Worth]) -> Iterator[Finding]:
    """Answers that look at nothing and are worth as much as the truth."""
    # Of a blank page no answer is the right one.
    blank = [w for w in worths if w.nothing >= w.truth.value - EQUAL and w.question.truth.text]
    if blank:
        said = [(w.question.row.row, _say_blank(w, scale)) for w in blank]
        advice = "choose another reward, or write such truths so that something is left of them"
        yield Finding("warning", f"source: {describe_rows(said, advice)}")
    other = [(w.other, w.truth.value) for w in worths if w.other is not None]
    ties = sum(value >= truth - EQUAL for value, truth in other)
    if len(other) >= FEW and ties >= MOST * len(other):
        yield Finding(
            "warning",
            f"source: {name}: {ties} of {len(other)} rows give another row's truth as much as "
            f"their own by {scale.name}, so that it hardly depends on the image; choose another "
            "reward",
        )


def _say_blank(worth: Worth, scale: Scale) -> str:
    shown = show_value(worth.question.truth.text)
    return f"gives no answer as much as its truth {shown} by {scale.name}"


def _report_sameness(name: TaskName, worths: Sequence[Worth]) -> Iterator[Finding]:
    if len(worths) >= FEW and all(worth.other is None for worth in worths):
        yield Finding(
            "warning",
            f"source: {name}: the truths of all {len(worths)} rows looked at are the same, so that "
            "an answer learned by heart is always right; add rows with other truths",
        )


def _describe(name: TaskName, worths: Sequence[tuple[Scale, list[Worth]]]) -> str:
    (measure, by_measure), *others = worths
    truth, nothing, other = _compute_means(by_measure)
    least = min(worth.truth.value for worth in by_measure)
    worst = f" ({least:.2f} at worst)" if least < 0.995 else ""
    others_said = "" if other is None else f", another row's {other:.2f}"
    rows = f"{len(by_measure)} row{'s' if len(by_measure) > 1 else ''}"
    line = (
        f"{name}: truths as answers are worth {truth:.2f}{worst}, no answer {nothing:.2f}"
        f"{others_said} ({rows}, {measure.name})"
    )
    for scale, found in others:
        numbers = [f"{number:.2f}" for number in _compute_means(found) if number is not None]
        line += f"; by {scale.name} {', '.join(numbers)}"
    return line


def _compute_means(worths: Sequence[Worth]) -> tuple[float, float, float | None]:
    """Of truths, no answers and other rows' truths; None where no truths differ."""
    others = [worth.other for worth in worths if worth.other is not None]
    truth = mean(worth.truth.value for worth in worths)
    return truth, mean(worth.nothing for worth in worths), mean(others) if others else None
