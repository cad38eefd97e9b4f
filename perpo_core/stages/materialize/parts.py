"""The parts of a set of lists: each written, found finished, or shared with an earlier set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from perpo_core.policy.refusals import Refusals
from perpo_core.stages.earlier import SharedParts, find_shared_parts
from perpo_core.stages.materialize.join import Shard
from perpo_core.stages.materialize.outcomes import build_outcomes, drop_others
from perpo_core.stages.materialize.rows import (
    SAMPLE_COLUMNS,
    build_dropped,
    build_preferences,
    build_refused,
)
from perpo_core.stages.materialize.tally import Tally, put_tally
from perpo_core.stages.samples import SamplesByPrompt
from perpo_core.stages.stage import StageContext
from perpo_core.store.workspace import Workspace
from schemas.artifact import FileRef, SampleSet
from schemas.base import Split

KIND = "preferences"
VERSION = 3
SPLIT: Split = "train"
REFUSED_FILE = "dropped-refused.parquet"
GROUP_LISTS = 64  # decoded by training for one of them


@dataclass(frozen=True)
class PartMaker:
    """Makes the parts of one set."""

    context: StageContext
    key: str
    sample_set: SampleSet
    chosen_of: dict[str, set[str]] | None
    """Name of a shard -> the samples whose lists stay; None: all."""

    @cached_property
    def workspace(self) -> Workspace:
        return self.context.open_workspace(KIND, self.key)

    @cached_property
    def samples(self) -> SamplesByPrompt:
        """Those to train on."""
        return SamplesByPrompt(self.context.store, self.sample_set, SPLIT, SAMPLE_COLUMNS)

    @cached_property
    def _shared(self) -> SharedParts:
        return find_shared_parts(self.context, KIND, self.key)

    def make(self, shard: Shard) -> list[FileRef]:
        """A shard's lists and what of it is in none."""
        chosen = None if self.chosen_of is None else self.chosen_of[shard.name]
        settings = self.context.config.lists.model_dump(exclude={"max_lists"})
        made_of = [VERSION, settings, shard.digests, None if chosen is None else sorted(chosen)]
        names = [shard.name, shard.name.replace("part-", "dropped-")]
        of_each = [[name.partition("-")[0], *made_of] for name in names]
        found = [self._find(*each) for each in zip(names, of_each, strict=True)]
        there = [file for file in found if file is not None]
        return there if len(there) == len(names) else self._write(shard, chosen, names, of_each)

    def _find(self, name: str, made_of: object) -> FileRef | None:
        return self.workspace.find_part(name, made_of) or self._shared.find(name, made_of)

    def _write(
        self, shard: Shard, chosen: set[str] | None, names: list[str], made_of: list[list[object]]
    ) -> list[FileRef]:
        made = drop_others(build_outcomes(shard, self.context.config.lists), chosen)
        tally = Tally()
        for each in made:
            tally.count(each.task, each.outcome)
        outcomes = {each.sample_id: each.outcome for each in made}
        kept = dict.fromkeys(each.prompt_id for each in made if each.outcome.ranked is not None)
        rows = {row["sample_id"]: row for rows in self.samples.load(kept).values() for row in rows}
        table = put_tally(build_preferences(outcomes, rows), tally)
        write = self.workspace.write_part
        return [
            write(names[0], table, made_of[0], group_rows=GROUP_LISTS),
            write(names[1], build_dropped(outcomes), made_of[1]),
        ]

    def write_refused(self, refusals: Refusals, tally: Tally) -> list[FileRef]:
        """The samples of prompts that the policy could not take, which join the tally."""
        refused = [prompt_id for prompt_id in refusals if prompt_id in self.samples]
        if not refused:
            return []
        rows_of = self.samples.load(refused)
        refusal_of = {}
        for prompt_id, rows in rows_of.items():
            for row in rows:
                refusal_of[row["sample_id"]] = refusals[prompt_id]
                tally.count_refused(row["task"], refusals[prompt_id].reason)
        return [self.workspace.write_table(REFUSED_FILE, build_refused(refusal_of))]
