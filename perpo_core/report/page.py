"""report.html: one file with everything in it, and no script.

Whatever a model or a data set wrote is escaped by the template engine; the page's own policy
forbids scripts and network besides.
"""

from __future__ import annotations

from perpo_core.perception.frames import build_framer
from perpo_core.perception.tasks import TASKS
from perpo_core.report.benchmarks import build_benchmark_rows
from perpo_core.report.cards import Album, Card
from perpo_core.report.changes import Changes, count_changes, load_greedy_pairs
from perpo_core.report.choice import describe_choice
from perpo_core.report.degrees import build_degree_table
from perpo_core.report.formats import capitalise
from perpo_core.report.gallery import load_change_cards, load_list_cards
from perpo_core.report.histograms import load_histograms
from perpo_core.report.image_share import build_probe_rows
from perpo_core.report.load import RunArtifacts
from perpo_core.report.part_means import load_part_means
from perpo_core.report.plots import Plot, build_training_plots, plot_histogram
from perpo_core.report.style import build_environment, load_style
from perpo_core.report.summary import TASK_LABELS
from perpo_core.report.tables import (
    build_count_rows,
    build_metric_rows,
    build_settings,
    build_stage_rows,
    compute_scale,
    format_duration,
    format_time,
)
from perpo_core.report.token_weights import WeighedList, load_weighed_lists
from perpo_core.store.packs import PREFIX, Images
from perpo_core.store.store import Store
from schemas.artifact import SampleSet
from schemas.base import CHOOSING_SPLIT
from schemas.config import RefreshConfig
from schemas.report import Report
from schemas.run import RunRecord
from schemas.sources import RowsSource

MAX_MEGAPIXELS = 1000.0  # of stored images, where the source sets no limit of its own


def build_page(store: Store, run: RunRecord, artifacts: RunArtifacts, report: Report) -> str:
    """The whole page."""
    template = build_environment().get_template("report.html")
    list_cards, change_cards, changes = _load_cards(store, run, artifacts)
    scale = compute_scale(report.metrics)
    validation_scale = compute_scale(report.validation)
    champion_metrics = report.promotion.champion_metrics if report.promotion else {}
    champion_scale = compute_scale(champion_metrics)
    return template.render(
        style=load_style(),
        after_gates=_describe_outcome(report),
        choice=_describe_choice(artifacts),
        report=report,
        run=run,
        task_labels=TASK_LABELS,
        subtitle=_describe_times(run),
        metric_rows=build_metric_rows(report.metrics, scale),
        scale=scale,
        validation_rows=build_metric_rows(report.validation, validation_scale),
        validation_scale=validation_scale,
        probe_rows=build_probe_rows(report.image_probe),
        champion_rows=build_metric_rows(champion_metrics, champion_scale),
        champion_scale=champion_scale,
        benchmark_rows=build_benchmark_rows(report.benchmarks),
        training_plots=build_training_plots(artifacts.checkpoint) if artifacts.checkpoint else [],
        degree_table=build_degree_table(artifacts.checkpoint),
        reward_plots=_build_reward_plots(store, artifacts),
        gap_plots=_build_gap_plots(store, artifacts, run.config),
        list_cards=list_cards,
        change_cards=change_cards,
        changes=changes,
        weighed_lists=_load_weighed_lists(store, run, artifacts),
        count_rows=build_count_rows(artifacts),
        stage_rows=build_stage_rows(run, artifacts),
        settings=build_settings(run.config, run.unread),
    )


def _load_weighed_lists(store: Store, run: RunRecord, artifacts: RunArtifacts) -> list[WeighedList]:
    """[] where no objective weighs tokens, or what it weighed them by is not there."""
    preferences, contrast = artifacts.preferences, artifacts.contrast
    if preferences is None or contrast is None:
        return []
    folder = store.resolve(run.policy_folder)
    parts = store.paths(preferences), store.paths(contrast)
    return load_weighed_lists(*parts, folder, run.config.train)


def _describe_outcome(report: Report) -> str:
    """What became of the promoted policy."""
    promotion = report.promotion
    if promotion is not None and promotion.held:
        return f"The promoted policy stays where it was: {promotion.held}."
    if promotion is None or not promotion.promoted or promotion.approval == "rejected":
        return "The promoted policy stays where it was."
    if promotion.approval == "waiting":
        return f"Every measured gate passed; `perpo approve {report.run_id}` promotes the policy."
    return "Every measured gate passed, and the promoted policy moved to this checkpoint."


def _describe_choice(artifacts: RunArtifacts) -> str:
    """Which checkpoint was kept, and by what; "" without one."""
    if artifacts.checkpoint is None:
        return ""
    clause = describe_choice(artifacts.checkpoint)
    unseen = artifacts.checkpoint.readings and artifacts.checkpoint.chosen_on == CHOOSING_SPLIT
    rest = ", whose prompts no gate and no table looks at" if unseen else ""
    return f"{capitalise(clause)}{rest}."


def _describe_times(run: RunRecord) -> str:
    started = format_time(run.started_at)
    if run.ended_at is None:
        return started
    return f"{started} \u00b7 {format_duration((run.ended_at - run.started_at).total_seconds())}"


def _load_cards(
    store: Store, run: RunRecord, artifacts: RunArtifacts
) -> tuple[list[Card], list[Card], list[Changes]]:
    """Cards of lists, cards of changed test answers, and counts of those."""
    samples, preferences = artifacts.samples, artifacts.preferences
    album, size = _build_album(store, run, samples), run.config.evaluate.gallery_size
    list_cards: list[Card] = []
    change_cards: list[Card] = []
    changes: list[Changes] = []
    if preferences is not None:
        list_cards = load_list_cards(store.paths(preferences), size, album)
    if artifacts.evaluation is not None:
        predictions = store.path(artifacts.evaluation, "predictions.parquet")
        pairs = load_greedy_pairs(predictions)
        changes = count_changes(pairs)
        if samples is not None:
            parts = store.paths(samples)
            change_cards = load_change_cards(predictions, pairs, parts, size, album)
    return list_cards, change_cards, changes


def _build_album(store: Store, run: RunRecord, samples: SampleSet | None) -> Album:
    source, box_format = run.config.source, run.config.policy.box_format
    limit = source.max_image_megapixels if isinstance(source, RowsSource) else MAX_MEGAPIXELS
    folder, pixel_limits = store.resolve(run.policy_folder), run.config.policy.pixel_limits
    build_frame = build_framer(box_format, folder, pixel_limits)
    images = Images(store.paths(samples, PREFIX)) if samples else None
    return Album(box_format, build_frame, limit, images)


def _build_reward_plots(store: Store, artifacts: RunArtifacts) -> list[Plot]:
    """Rewards of all candidates, by task, with the means of the parts of a mixture."""
    if artifacts.scores is None:
        return []
    histograms = load_histograms(store.paths(artifacts.scores), "reward")
    means = load_part_means(store.paths(artifacts.scores))
    plots = []
    for task in [task for task in TASKS if task in histograms]:
        found = histograms[task]
        note = f"{found.num:,} answers, mean {found.mean:.2f}"
        if found.num_missing:
            note += f", {found.num_missing:,} more unreadable"
        if len(parts := means.get(task, {})) > 1:
            note += "; " + ", ".join(f"{name} {mean:.2f}" for name, mean in parts.items())
        plots.append(plot_histogram("rewards", capitalise(TASK_LABELS[task]), note, found, task))
    return plots


def _build_gap_plots(store: Store, artifacts: RunArtifacts, config: RefreshConfig) -> list[Plot]:
    """Best minus worst reward of the lists that were kept, by task."""
    if artifacts.preferences is None:
        return []
    histograms = load_histograms(store.paths(artifacts.preferences), "reward_gap")
    plots = []
    for task in [task for task in TASKS if task in histograms]:
        least = config.lists.min_gap.get(task, 0.0)
        note = f"{histograms[task].num:,} lists, gap at least {least:g}"
        plots.append(
            plot_histogram(
                "gaps", capitalise(TASK_LABELS[task]), note, histograms[task], task, least
            )
        )
    return plots
