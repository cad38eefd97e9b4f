"""Ranked lists as the trainer takes them: sampled token ids, never re-tokenised text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import Dataset

from perpo_core.generate.prompts import Prompt, clean_messages
from perpo_core.train.packing import Branch, PackableList, PackedBatch, pack_lists

NOT_VISION = ("input_ids", "attention_mask")  # of what a processor returns


@dataclass(frozen=True)
class RankedList:
    """One list: packable tokens, rewards and (once computed) reference log-probabilities."""

    list_id: str
    packable: PackableList
    rewards_G: Sequence[float]
    ref_logps_G: Sequence[float] | None = None


class RankedLists(Dataset[RankedList]):
    """Rows of preferences.parquet; images are decoded when a list is asked for."""

    def __init__(self, preferences_file: Path, processor: Any) -> None:
        columns = ["sample_id", "prompt_id", "images", "prompt", "responses"]
        self._table = pq.read_table(preferences_file, columns=columns)
        self._processor = processor
        self.ref_logps_PG: list[list[float]] | None = None

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: int) -> RankedList:
        row = self._table.slice(index, 1).to_pylist()[0]
        prompt = Prompt(
            row["prompt_id"],
            clean_messages(row["prompt"]),
            [image["bytes"] for image in row["images"]],
        )
        responses = row["responses"]
        prefix_ids, vision = encode_prompt(self._processor, prompt)
        branches = [Branch(response["token_ids"]) for response in responses]
        return RankedList(
            row["sample_id"],
            PackableList(prefix_ids, branches, vision),
            [response["reward"] for response in responses],
            self.ref_logps_PG[index] if self.ref_logps_PG else None,
        )


def encode_prompt(processor: Any, prompt: Prompt) -> tuple[list[int], dict[str, Tensor]]:
    """(token ids with every image token in place, what the vision tower takes).

    The same template and processor as the sampler's, so the ids are those it conditioned on.
    """
    text = processor.apply_chat_template(
        prompt.messages, add_generation_prompt=True, tokenize=False
    )
    images = [prompt.open_images()] if prompt.images else None
    encoded = processor(text=[text], images=images, return_tensors="pt")
    vision = {name: value for name, value in encoded.items() if name not in NOT_VISION}
    return encoded["input_ids"][0].tolist(), vision


@dataclass(frozen=True)
class TrainBatch:
    """Packed lists and their rewards, [P, G] padded with zeros where the mask is False."""

    packed: PackedBatch
    rewards_PG: Tensor
    ref_logps_PG: Tensor
    num_tokens_PG: Tensor

    @property
    def num_lists(self) -> int:
        return int(self.rewards_PG.shape[0])

    def to(self, device: torch.device | str) -> TrainBatch:
        return TrainBatch(
            self.packed.to(device),
            self.rewards_PG.to(device),
            self.ref_logps_PG.to(device),
            self.num_tokens_PG.to(device),
        )


def collate_lists(lists: Sequence[RankedList], pad_id: int) -> TrainBatch:
    """A batch of lists of any sizes."""
    packed = pack_lists([ranked.packable for ranked in lists], pad_id)
    group_size = packed.mask_BG.shape[1]
    lengths = [
        [len(branch.ids) - branch.num_unscored for branch in ranked.packable.branches]
        for ranked in lists
    ]
    references = [ranked.ref_logps_G or [0.0] * len(ranked.rewards_G) for ranked in lists]
    return TrainBatch(
        packed,
        _pad([ranked.rewards_G for ranked in lists], group_size, torch.float64),
        _pad(references, group_size, torch.float32),
        _pad(lengths, group_size, torch.long),
    )


def _pad(rows: Sequence[Sequence[float]], width: int, dtype: torch.dtype) -> Tensor:
    table = torch.zeros(len(rows), width, dtype=dtype)
    for number, row in enumerate(rows):
        table[number, : len(row)] = torch.tensor(row, dtype=dtype)
    return table
