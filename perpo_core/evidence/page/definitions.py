"""What every number of the page is, one line each."""

from __future__ import annotations

from perpo_core.evidence.values import name_metric
from perpo_core.perception.tasks import TASKS
from schemas.comparison import ComparisonReport

METRICS = {
    "mean_iou": (
        "Mean IoU of the greedy answers' boxes with the true ones; an unreadable answer has 0."
    ),
    "edit_distance": (
        "Mean edit distance of greedy answer and true text in characters, over the length of the "
        "longer one; less is better."
    ),
    "exact": "Share of greedy answers that are the true text.",
    "accuracy": "Share of greedy answers with the right count.",
    "hits": "Share of greedy answers whose point is right: in the true box, or at the true point.",
    "distance": (
        "Mean distance of the greedy answer's point from the truth, in diagonals of the image and "
        "at most half of one; less is better."
    ),
    "f1_at_50": (
        "Mean F1 of the greedy answers' boxes, matched one to one with the true ones at IoU 0.5."
    ),
    "all_found": "Share of greedy answers with every box found and none too many, at IoU 0.5.",
    "vqa_accuracy": (
        "Mean VQA accuracy of the greedy answers: in full where three of ten people said the same."
    ),
    "full_agreement": "Share of greedy answers that count in full.",
    "field_f1": "Mean F1 of the greedy answers' fields with the true ones.",
    "exact_object": "Share of greedy answers with all fields right and none too many.",
    "teds": "Mean similarity of the greedy answer's table and the true one, as trees (TEDS).",
    "exact_table": "Share of greedy answers that are the true table.",
    "greedy_reward": "Mean reward of the greedy answers, by the reward of the configuration.",
    "sampled_reward": (
        "Mean reward of all sampled answers: what the policy gives on average, which the loss "
        "moves."
    ),
    "best_of_n": (
        "Mean reward of the best of all sampled answers of a prompt: what choosing well could "
        "reach."
    ),
}
"""Metric -> what it is; accuracies at an IoU are said by `define_metric`."""
STATISTICS = (
    ("Change", "A method's value minus the start's on the same prompts and seeds, mean over both."),
    (
        "95% interval",
        "Of a difference by itself: images are resampled with all their prompts, and what seeds "
        "add is spread by a bootstrap that for one quantity is Student's t.",
    ),
    ("Better, worse", "The whole interval of the change lies on one side of 0."),
    (
        "p (Holm)",
        "Two-sided p-value of no difference, from the same resamples, corrected for all pairs of "
        "start and methods: the chance of even one false claim among them is 5% at most.",
    ),
    (
        "Clear",
        "Holm's p is below 0.05. An interval can leave out 0 where the difference is not clear.",
    ),
    (
        "Effect size",
        "The change over the standard deviation of the prompts' changes (Cohen's d of pairs); more "
        "seeds make it larger.",
    ),
    (
        "Headroom closed",
        "Share of the way from the start's greedy answer to the best of its n sampled ones that "
        "the greedy answer went, in mean reward.",
    ),
    (
        "Best of n",
        "Expected reward of the best of n sampled answers, unbiased: the mean over all subsets of "
        "n of those that were sampled.",
    ),
    ("Seeds", "Each trains anew; the mean of the seeds' values is the method's value."),
    (
        "Times",
        "Of the work behind each artifact, in whichever run it was done; what runs share counts "
        "with every one.",
    ),
    ("Peak memory", "Most during training: of tensors on a GPU, or of the process on a CPU."),
)
"""(name, what it is)."""


def define_metric(metric: str) -> str | None:
    """What a metric is, in one sentence; None for one that has none."""
    if metric.startswith("acc_at_"):
        iou = int(metric.removeprefix("acc_at_")) / 100
        return f"Share of greedy answers whose IoU with the true box is at least {iou:g}."
    return METRICS.get(metric)


def list_definitions(report: ComparisonReport) -> list[tuple[str, str]]:
    """(task and metric, what it is) of all in the report; without a sentence, its bare name."""
    return [
        (f"{TASKS[task].label}, {name_metric(task, metric)}", define_metric(metric) or metric)
        for task in TASKS
        if task in report.start.tasks
        for metric in report.start.tasks[task].metrics
    ]
