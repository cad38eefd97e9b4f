"""The lists as each of the two contrastive policies is shown them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from perpo_core.policy.prompts import Prompt
from perpo_core.stages.train.data import RankedList, RankedLists, Shown


class NegatedLists(RankedLists):
    """The worst answer is the best: what is trained on them prefers what is wrong."""

    def __getitem__(self, index: int) -> RankedList:
        ranked = super().__getitem__(index)
        return replace(ranked, rewards_G=[-reward for reward in ranked.rewards_G])


class InstructedLists(RankedLists):
    """An instruction follows what is asked."""

    def __init__(
        self,
        parts: Sequence[Path],
        packs: Sequence[Path],
        processor: Any,
        instruction: str,
        image: Shown = "kept",
    ) -> None:
        super().__init__(parts, packs, processor, image)
        self._instruction = instruction

    def read_prompt(self, row: dict[str, Any]) -> Prompt:
        """In the last message, as its last part."""
        prompt = super().read_prompt(row)
        *earlier, last = prompt.messages
        part = {"type": "text", "text": f"\n{self._instruction}"}
        return replace(prompt, messages=[*earlier, last | {"content": [*last["content"], part]}])
