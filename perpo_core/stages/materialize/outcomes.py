"""What becomes of every sample of a shard, and which lists stay where there may be only so many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from perpo_core.stages.materialize import lists
from perpo_core.stages.materialize.join import Shard, load_scored_answers
from perpo_core.stages.materialize.lists import ListOutcome
from perpo_core.stages.materialize.tally import Tally
from perpo_core.stages.samples import SamplesByPrompt
from schemas.base import TaskName
from schemas.config import ListsConfig


@dataclass(frozen=True)
class SampleOutcome:
    """A sample, and its list or the reason why there is none."""

    sample_id: str
    prompt_id: str
    task: TaskName
    outcome: ListOutcome


def build_outcomes(shard: Shard, config: ListsConfig) -> list[SampleOutcome]:
    """Every sample of a shard, in order of its id; before max_lists."""
    return [
        SampleOutcome(
            each.sample_id, each.prompt_id, each.task,
            lists.build_list(each.answers, each.task, config),
        )
        for each in load_scored_answers(shard)
    ]  # fmt: skip


def choose_widest(shards: Sequence[Shard], config: ListsConfig) -> dict[str, set[str]] | None:
    """Name of a shard -> its samples whose lists are among the widest max_lists of their task.

    None where all stay; else a pass over all shards that holds ids and gaps.
    """
    if config.max_lists is None:
        return None
    gaps: dict[TaskName, dict[str, float]] = {}
    ids_of: dict[str, set[str]] = {shard.name: set() for shard in shards}
    for shard in shards:
        for each in build_outcomes(shard, config):
            if each.outcome.ranked is not None:
                gaps.setdefault(each.task, {})[each.sample_id] = each.outcome.ranked.gap
                ids_of[shard.name].add(each.sample_id)
    widest = {i for mine in gaps.values() for i in lists.select_widest(mine, config.max_lists)}
    return {name: ids & widest for name, ids in ids_of.items()}


def drop_others(made: Sequence[SampleOutcome], chosen: set[str] | None) -> list[SampleOutcome]:
    """The same with every list that was not chosen turned into a drop."""
    if chosen is None:
        return list(made)
    return [
        each
        if each.outcome.ranked is None or each.sample_id in chosen
        else replace(each, outcome=_drop(each.outcome))
        for each in made
    ]


def _drop(outcome: ListOutcome) -> ListOutcome:
    assert outcome.ranked is not None
    gap = f"gap {outcome.ranked.gap:.6g}"
    return ListOutcome(None, lists.OVER_MAX, gap, dropped=outcome.dropped)


def check_complete(samples: SamplesByPrompt, shards: Sequence[Shard], tally: Tally) -> None:
    """Raise ValueError unless every training sample is counted."""
    ids = samples.list_ids()
    if tally.num_kept + sum(tally.dropped.values()) == len(ids):
        return
    scored = {each.sample_id for shard in shards for each in load_scored_answers(shard)}
    unscored = sorted(set(ids) - scored)
    raise ValueError(
        f"{len(unscored)} of {len(ids)} train samples have no scores, the first is "
        f"{unscored[0] if unscored else 'unknown'}; score the candidates again"
    )
