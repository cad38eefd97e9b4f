"""Ranked lists as the trainer takes them: sampled token ids, never re-tokenised text.

A list may carry its crop: a list of its own, the same prompt with every image cropped and the best
answers only. With train.image = blank every image is grey of its size, crops too. K: further
references, T: tokens of an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from perpo_core.policy.encoding import encode_messages, encode_prompt
from perpo_core.policy.prompts import Prompt, clean_messages, read_prompt
from perpo_core.stages.altering.crops import crop_image
from perpo_core.stages.altering.grey import encode_grey
from perpo_core.stages.train.packing import Branch, PackableList, PackedBatch, pack_lists
from perpo_core.stages.train.token_table import Row
from perpo_core.stages.train.version_tables import VersionTable
from perpo_core.store.packs import Images
from perpo_core.store.row_reader import RowReader

COLUMNS = ["sample_id", "prompt_id", "task", "images", "prompt", "responses"]
Shown = Literal["kept", "blank"]
"""train.image."""
AnswerColumn = Callable[[dict[str, Any]], Sequence[float]]
"""Of a row of schemas.arrow.PREFERENCES, a number for each of its responses."""


class TokenValues(NamedTuple):
    """What objectives that look at tokens need of frozen models: rows of lists, or tables."""

    ref_logps: Any
    contrasts: Any
    """Log-probabilities under the better of two contrastive policies, less the worse's."""


@dataclass(frozen=True)
class RankedList:
    """One list: packable tokens, rewards and (once computed) reference log-probabilities."""

    list_id: str
    packable: PackableList
    rewards_G: Sequence[float]
    ref_logps_G: Sequence[float] | None = None
    extra_ref_logps_KG: Sequence[Sequence[float]] = ()
    crop: RankedList | None = None
    tokens: TokenValues | None = None
    columns_G: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Field of ListBatch -> a number for each answer."""


class RankedLists(Dataset[RankedList]):
    """Lists in their files; a list and its images are read when it is asked for."""

    def __init__(
        self, parts: Sequence[Path], packs: Sequence[Path], processor: Any, image: Shown = "kept"
    ) -> None:
        self._rows = RowReader(parts, COLUMNS)
        self._images, self._is_blank = Images(packs), image == "blank"
        self._ids = list(self._rows.iterate_column("sample_id"))
        self._processor = processor
        self.ref_logps_PG: list[list[float]] | None = None
        self.extra_ref_logps_KPG: list[list[list[float]]] = []
        self.crops: CroppedLists | None = None
        self.tokens: TokenValues | None = None
        self.versions: VersionTable | None = None
        self.columns: dict[str, AnswerColumn] = {}
        """Field of ListBatch -> how it is computed."""

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> RankedList:
        row = self.load_row(index)
        prefix_ids, vision = encode_prompt(self._processor, self.read_prompt(row))
        packable = PackableList(prefix_ids, _read_branches(row["responses"]), vision)
        tokens = TokenValues(*(table[index] for table in self.tokens)) if self.tokens else None
        return RankedList(
            row["sample_id"],
            self.versions.add_to(packable, index) if self.versions else packable,
            [response["reward"] for response in row["responses"]],
            self._read_reference(index, tokens),
            [rows[index] for rows in self.extra_ref_logps_KPG],
            self.crops[index] if self.crops is not None else None,
            tokens,
            {name: compute(row) for name, compute in self.columns.items()},
        )

    def _read_reference(self, index: int, tokens: TokenValues | None) -> list[float] | None:
        if tokens:
            return [math.fsum(logps) for logps in tokens.ref_logps]
        return self.ref_logps_PG[index] if self.ref_logps_PG else None

    @property
    def spans(self) -> list[range]:
        """The numbers of each part's lists."""
        return self._rows.spans

    def read_id(self, index: int) -> str:
        """The list's sample_id."""
        return self._ids[index]

    def read_sampled_logps(self) -> list[list[float]]:
        """Log-probabilities of every list's answers under the policy that sampled them, nats."""
        responses_P = self._rows.iterate_column("responses.list.element.logp")
        return [[response["logp"] for response in responses] for responses in responses_P]

    def iterate_texts(self) -> Iterator[tuple[str, list[str]]]:
        """(task, texts of the answers) of every list."""
        texts_P = self._rows.iterate_column("responses.list.element.text")
        for task, responses in zip(self._rows.iterate_column("task"), texts_P, strict=True):
            yield task, [response["text"] for response in responses]

    def load_row(self, index: int) -> dict[str, Any]:
        """The row of schemas.arrow.PREFERENCES."""
        return self._rows.read(index)

    def read_prompt(self, row: dict[str, Any]) -> Prompt:
        """What is shown: what was asked, with its images, or with grey ones of their size."""
        if not self._is_blank:
            return read_prompt(row, self._images)
        greys = [encode_grey(*self._images.measure(image_hash)) for image_hash in row["images"]]
        return Prompt(row["prompt_id"], clean_messages(row["prompt"]), greys)


class CroppedLists(Dataset[RankedList]):
    """The crops of the lists: every image cropped, once and for all, and the best answers only."""

    def __init__(self, lists: RankedLists, processor: Any, seed: int) -> None:
        self._lists = lists
        self._processor = processor
        self._seed = seed
        self.ref_logps_PG: list[list[float]] | None = None

    def __len__(self) -> int:
        return len(self._lists)

    @property
    def spans(self) -> list[range]:
        """As of the lists."""
        return self._lists.spans

    def read_id(self, index: int) -> str:
        """The sample_id of the list it is the crop of."""
        return self._lists.read_id(index)

    def __getitem__(self, index: int) -> RankedList:
        row = self._lists.load_row(index)
        prompt = self._lists.read_prompt(row)
        images = [
            crop_image(image, f"{row['sample_id']}/{number}", self._seed)
            for number, image in enumerate(prompt.open_images())
        ]
        prefix_ids, vision = encode_messages(self._processor, prompt.messages, images)
        best = find_best_responses(row["responses"])
        return RankedList(
            row["sample_id"],
            PackableList(prefix_ids, _read_branches(best), vision),
            [response["reward"] for response in best],
            self.ref_logps_PG[index] if self.ref_logps_PG else None,
        )


def find_best_responses(responses: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that share the highest reward, in the list's order."""
    highest = max(response["reward"] for response in responses)
    return [response for response in responses if response["reward"] == highest]


def _read_branches(responses: Sequence[dict[str, Any]]) -> list[Branch]:
    return [Branch(response["token_ids"]) for response in responses]


@dataclass(frozen=True)
class TrainBatch:
    """Packed lists and their rewards, [P, G] padded with zeros where the mask is False."""

    packed: PackedBatch
    rewards_PG: Tensor
    ref_logps_PG: Tensor
    num_tokens_PG: Tensor
    extra_ref_logps_KPG: Tensor
    crop: TrainBatch | None = None
    tokens: TokenValues | None = None
    """Tensors [P, G, T], padded with zeros."""
    columns_PG: Mapping[str, Tensor] = field(default_factory=dict)
    """Field of ListBatch -> its values, float64."""

    @property
    def num_lists(self) -> int:
        return int(self.rewards_PG.shape[0])

    def to(self, device: torch.device | str) -> TrainBatch:
        return self._map(lambda part: part.to(device, non_blocking=True), self.packed.to(device),
                         self.crop.to(device) if self.crop else None)  # fmt: skip

    def pin_memory(self) -> TrainBatch:
        """As PackedBatch.pin_memory."""
        return self._map(Tensor.pin_memory, self.packed.pin_memory(),
                         self.crop.pin_memory() if self.crop else None)  # fmt: skip

    def _map(
        self, change: Callable[[Tensor], Tensor], packed: PackedBatch, crop: TrainBatch | None
    ) -> TrainBatch:
        return TrainBatch(
            packed,
            change(self.rewards_PG),
            change(self.ref_logps_PG),
            change(self.num_tokens_PG),
            change(self.extra_ref_logps_KPG),
            crop,
            TokenValues(*map(change, self.tokens)) if self.tokens else None,
            {name: change(values_PG) for name, values_PG in self.columns_PG.items()},
        )


def collate_lists(lists: Sequence[RankedList], pad_id: int) -> TrainBatch:
    """A batch of lists of any sizes; all of them have a crop or none has."""
    packed = pack_lists([ranked.packable for ranked in lists], pad_id)
    group_size = packed.mask_BG.shape[1]
    lengths = [
        [len(branch.ids) - branch.num_unscored for branch in ranked.packable.branches]
        for ranked in lists
    ]
    references = [ranked.ref_logps_G or [0.0] * len(ranked.rewards_G) for ranked in lists]
    extra_KPG = zip(*(ranked.extra_ref_logps_KG for ranked in lists), strict=True)
    tables = [_pad(rows, group_size, torch.float32) for rows in extra_KPG]
    crops = [ranked.crop for ranked in lists if ranked.crop is not None]
    assert len(crops) in (0, len(lists))
    return TrainBatch(
        packed,
        _pad([ranked.rewards_G for ranked in lists], group_size, torch.float64),
        _pad(references, group_size, torch.float32),
        _pad(lengths, group_size, torch.long),
        torch.stack(tables) if tables else torch.zeros(0, len(lists), group_size),
        collate_lists(crops, pad_id) if crops else None,
        _collate_tokens([ranked.tokens for ranked in lists if ranked.tokens], group_size),
        {
            name: _pad([ranked.columns_G[name] for ranked in lists], group_size, torch.float64)
            for name in lists[0].columns_G
        },
    )


def _collate_tokens(lists: Sequence[TokenValues], group_size: int) -> TokenValues | None:
    """[P, G, T] of each table; None where no list has one."""
    if not lists:
        return None
    return TokenValues(*(_pad_tokens(rows, group_size) for rows in zip(*lists, strict=True)))


def _pad_tokens(lists: Sequence[Row], group_size: int) -> Tensor:
    longest = max(len(tokens) for row in lists for tokens in row)
    table_PGT = torch.zeros(len(lists), group_size, longest)
    for p, row in enumerate(lists):
        table_PGT[p, : len(row)] = _pad(row, longest, torch.float32)
    return table_PGT


def _pad(rows: Sequence[Sequence[float]], width: int, dtype: torch.dtype) -> Tensor:
    table = torch.zeros(len(rows), width, dtype=dtype)
    for number, row in enumerate(rows):
        table[number, : len(row)] = torch.tensor(row, dtype=dtype)
    return table
