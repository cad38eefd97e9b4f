"""The model card: what was done, what it measured, how to load it. A pure function of the facts."""

from __future__ import annotations

from perpo_core.export.facts import ARXIV_ID, CardFacts
from perpo_core.export.front_matter import build_front_matter
from perpo_core.export.provenance import build_data, build_settings_table, build_versions
from perpo_core.export.usage import build_usage
from perpo_core.report.choice import describe_choice
from perpo_core.report.markdown import build_table, escape
from perpo_core.report.summary import TASK_LABELS, compute_reading, label_metric
from perpo_core.report.tables import build_metric_rows, compute_scale
from schemas.artifact import Metric
from schemas.base import TaskName

PAPER = f"[PerPO, arXiv {ARXIV_ID}](https://arxiv.org/abs/{ARXIV_ID})"
METRIC_HEADER = (
    "task", "metric", "base", "trained", "change", "95% interval", "n", "reading",
)  # fmt: skip
NOT_EVALUATED = "The run has no evaluation, so nothing is known about what training changed."


def build_card(facts: CardFacts) -> str:
    """The whole README.md."""
    name = escape(facts.origin.name.rpartition("/")[2])
    sections = {
        "What was done": describe_work(facts),
        "Results": _build_results(facts),
        "Data": build_data(facts),
        "Training": build_settings_table(facts),
        "How to load it": build_usage(facts),
        "Versions and digests": build_versions(facts),
        "Licence": _describe_licence(facts),
        "Limits": _describe_limits(facts),
    }
    kind = "adapter for " if facts.is_adapter else ""
    body = [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n\n".join([build_front_matter(facts), f"# {kind}{name}, after PerPO", *body]) + "\n"


def describe_work(facts: CardFacts) -> str:
    """Three sentences, and a fourth where the start is not the base itself."""
    train, generate = facts.config.train, facts.config.generate
    tasks = ", ".join(TASK_LABELS[task] for task in facts.tasks)
    lists = facts.artifacts.preferences
    num_lists = f"{sum(lists.num_lists.values()):,} " if lists else ""
    loss = "the listwise loss of PerPO" if train.objective == "perpo" else f"`{train.objective}`"
    what = "low-rank adapters" if train.adapter == "lora" else "its weights"
    sentences = [
        f"{escape(facts.origin.name)} went through a refresh of Perceptual Preference Optimization "
        f"({PAPER}): the policy learns from its own ranked answers.",
        f"It answered every training prompt ({tasks}) {generate.num_candidates} times at "
        f"temperature {generate.temperature:g}, and rewards computed from the ground truth ranked "
        "the answers.",
        f"On the {num_lists}ranked lists that were kept, {what} were trained with {loss}, and "
        f"{_describe_choice(facts)}.",
    ]
    return " ".join([*sentences, *_describe_start(facts)])


def _describe_choice(facts: CardFacts) -> str:
    choice = describe_choice(facts.checkpoint)
    if facts.is_start_kept:
        choice += ", so that **these are the weights of the start**"
    return choice


def _describe_start(facts: CardFacts) -> list[str]:
    earlier = facts.origin.earlier_runs
    if not earlier:
        return []
    runs = ", ".join(f"`{run_id}`" for run_id in earlier)
    return [f"The start, called base below, was itself the result of {len(earlier)} earlier "
            f"run{'s' if len(earlier) > 1 else ''} ({runs})."]  # fmt: skip


def _build_results(facts: CardFacts) -> str:
    """Base against trained, with the names and signs of the run's report."""
    evaluation = facts.artifacts.evaluation
    if evaluation is None or not evaluation.metrics:
        return NOT_EVALUATED
    table = build_table(METRIC_HEADER, _build_metric_cells(evaluation.metrics))
    return (
        f"{table}\n\nTest split; greedy answers, except where samples are named. Intervals come "
        "from a paired bootstrap over images; a change reads as better or worse only if its whole "
        "interval lies on one side of zero."
    )


def _build_metric_cells(metrics: dict[TaskName, dict[str, Metric]]) -> list[list[str]]:
    rows = build_metric_rows(metrics, compute_scale(metrics))
    return [
        [
            row.task_label,
            row.label + (" (lower is better)" if row.lower_is_better else ""),
            row.base,
            row.trained,
            row.delta,
            row.interval,
            f"{row.n:,}",
            row.reading,
        ]
        for row in rows
    ]


def _describe_licence(facts: CardFacts) -> str:
    if "license" in facts.licence:
        return (
            f"As the base model's card states: {escape(facts.licence['license'])}. Whether the "
            "training data allow it is for whoever publishes this to know."
        )
    return (
        "Not stated by the base model's folder. Whoever publishes this fills in `license` at the "
        "top of this file, from the licences of the base model and of the training data."
    )


def _describe_limits(facts: CardFacts) -> str:
    evaluation = facts.artifacts.evaluation
    worse = [
        f"{TASK_LABELS[task]}, {label_metric(name)}"
        for task, metrics in (evaluation.metrics if evaluation else {}).items()
        for name, value in metrics.items()
        if compute_reading(name, value) == "worse"
    ]
    limits = [
        *([f"Worse than the base: {'; '.join(worse)}."] if worse else []),
        "Measured on held-out prompts of the training source only; other tasks, prompts and kinds "
        "of images were not looked at, and may have changed.",
        "One training seed: the intervals say how much depends on the test images, not on the "
        "seed.",
        f"Answers longer than {facts.config.generate.max_tokens} tokens were never trained on.",
        "Safety was not looked at; what holds for the base model holds here at best.",
    ]
    return "\n".join(f"- {limit}" for limit in limits)
