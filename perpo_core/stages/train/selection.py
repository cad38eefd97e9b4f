"""Reward on the selection split while training: the checkpoint is chosen by what it answers.

The best of several readings is better than its policy: it was chosen for that too. So these prompts
choose, and the gates look at others (docs/gates.md). Outside rewards are asked here too, and
replies lie in the store; a judge that puts answers in order is not: there is one answer a prompt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perpo_core.perception.frames import build_framer
from perpo_core.perception.judging import list_outside
from perpo_core.perception.tasks import TASKS
from perpo_core.policy.banned import find_banned_ids
from perpo_core.policy.encoding import EncodedPrompt, encode_or_refuse
from perpo_core.policy.prompts import read_prompt
from perpo_core.policy.refusals import Refusal
from perpo_core.stages.outside import build_judge_of_one, require_judged
from perpo_core.stages.samples import SampleRows, ScorableSample, build_item
from perpo_core.stages.train.greedy import generate_greedily
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.ranks import gather, gather_turns, get_rank, take_turns
from perpo_core.store.packs import Images
from perpo_core.store.place import Place
from perpo_core.store.row_reader import RowReader
from schemas.base import CHOOSING_SPLIT, Split, TaskName
from schemas.config import RefreshConfig
from schemas.run import SampleFiles

COLUMNS = [
    "sample_id", "prompt_id", "task", "split", "images", "width", "height", "prompt", "target",
]  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """Mean greedy reward: over tasks, and of each."""

    mean_reward: float
    per_task: dict[TaskName, float]


class SelectionReward:
    """Measures the mean greedy reward of a model on a fixed set of selection prompts."""

    def __init__(
        self, samples: SampleFiles, processor: Any, config: RefreshConfig, policy_folder: Path,
        place: Place | None = None, log: Callable[[str], None] = lambda message: None,
    ) -> None:  # fmt: skip
        """`place` is the store's, where replies of judges are kept; None: the configuration's."""
        self._config = config
        self._judge = build_judge_of_one(config, place or config.store, log)
        # A judge is asked once, and not by every process.
        self._asks_once = bool(list_outside(config.score))
        self._rows = SampleRows(samples)
        self._tokenizer = processor.tokenizer
        self._banned_ids = find_banned_ids(processor.tokenizer)
        build_frame = build_framer(
            config.policy.box_format, policy_folder, config.policy.pixel_limits
        )
        self._samples: list[ScorableSample] = []
        self._prompts: list[EncodedPrompt] = []
        self.refusals: dict[str, Refusal] = {}
        """sample_id -> why the policy cannot take its prompt; it chooses nothing."""
        images = Images(samples.packs)
        for row in pick_rows(samples.parts, config.train.eval_prompts, CHOOSING_SPLIT):
            prompt = read_prompt(row, images)
            encoded = encode_or_refuse(processor, prompt, config.policy.max_model_len)
            if isinstance(encoded, Refusal):
                self.refusals[row["sample_id"]] = encoded
                continue
            self._prompts.append(encoded)
            frame = build_frame(row["width"], row["height"])
            self._samples.append(
                ScorableSample(row["sample_id"], row["task"], row["target"], frame)
            )

    def __len__(self) -> int:
        return len(self._samples)

    def measure(self, model: ListPolicy) -> Reading:
        """Answer every prompt greedily and score the answers, each process its share."""
        was_training = model.training
        model.eval()
        # Sharded weights are gathered by all processes at once: then all answer the same prompts.
        shared = self._config.train.sharding == "none"
        texts = generate_greedily(
            model, self._tokenizer, take_turns(self._prompts) if shared else self._prompts,
            self._config.generate.max_tokens, self._config.policy.max_model_len, self._banned_ids,
        )  # fmt: skip
        model.train(was_training)
        if shared:
            texts = gather_turns(texts)
        rewards: dict[TaskName, list[float]] = defaultdict(list)
        for sample, value in zip(self._samples, self._judge_texts(texts), strict=True):
            rewards[sample.task].append(value)
        per_task = {task: sum(values) / len(values) for task, values in sorted(rewards.items())}
        return Reading(sum(per_task.values()) / len(per_task), per_task)

    def _judge_texts(self, texts: Sequence[str]) -> list[float]:
        """What each answer counts as, on every process."""
        if self._asks_once:
            return gather(self._ask(texts) if get_rank() == 0 else [])[0]
        return self._ask(texts)

    def _ask(self, texts: Sequence[str]) -> list[float]:
        pairs = zip(self._samples, texts, strict=True)
        items = [build_item(sample, text, self._rows) for sample, text in pairs]
        judgements = self._judge.judge_many(items)
        require_judged(judgements)
        return [judgement.value for judgement in judgements]


def pick_rows(parts: Sequence[Path], num_prompts: int, wanted: Split) -> list[dict[str, Any]]:
    """Rows of a split shared out evenly over the tasks, in the files' order."""
    rows = RowReader(parts, COLUMNS)
    by_task: dict[TaskName, list[int]] = {task: [] for task in TASKS}
    names = zip(rows.iterate_column("task"), rows.iterate_column("split"), strict=True)
    for number, (task, split) in enumerate(names):
        if split == wanted:
            by_task[task].append(number)
    present = [numbers for numbers in by_task.values() if numbers]
    return rows.read_many(_share_out(present, num_prompts))


def _share_out(groups: Sequence[Sequence[int]], total: int) -> list[int]:
    """Up to `total` members, as evenly over the groups as their sizes allow.

    >>> _share_out([[0, 1, 2, 3], [4]], 3)
    [0, 1, 4]
    """
    picked: list[int] = []
    remaining = total
    ordered = sorted(groups, key=len)
    for number, group in enumerate(ordered):
        share = remaining // (len(ordered) - number)
        picked += group[:share]
        remaining -= min(share, len(group))
    return sorted(picked)
