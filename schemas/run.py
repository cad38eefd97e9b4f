"""The record of one run and the job descriptions handed to child processes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import (
    AwareDatetime,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from schemas.base import NO_LIMITS, Address, Digest, Frozen, PixelLimits, Split, StageName
from schemas.config import RefreshConfig

RECORD_VERSION: Final = 2
"""1: paths are absolute, and the version is not said. 2: relative to the store where they lie in
it."""


class StageRecord(Frozen):
    """What one stage did in one run."""

    kind: str
    key: Digest
    digest: Digest
    reused: bool
    forced: bool = False
    """Made anew because someone asked for it, whatever the store had."""
    seconds: float = Field(ge=0)
    """Wall time in this run; for a reused stage, the time the look-up took."""


RunStatus = Literal["running", "completed", "failed", "cancelled", "killed"]
"""A killed run could not say so: it is called running until the next run of its name begins."""


class RunRecord(Frozen):
    """<store>/runs/<run-id>.json

    Of another version it holds what this one knows (flows/runs/records.py).
    """

    schema_version: int = Field(default=RECORD_VERSION, ge=1)
    run_id: str
    number: int = Field(default=0, ge=0)
    """Counts the runs of a store, so that their order does not hang on the clock; 0: not counted,
    and before all that are."""
    status: RunStatus
    config: RefreshConfig
    """As resolved."""
    policy_digest: Digest
    policy_folder: Path
    """Relative to the store where it lies in it (Store.relate, Store.resolve)."""
    stages: dict[StageName, StageRecord] = {}
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    error: str | None = None
    report: Path | None = None
    """report.html, relative to the store."""
    flow_run_id: str | None = None
    unread: dict[str, Any] = Field(default={}, exclude=True)
    """Settings, and what else, that were recorded by another version and that this one does not
    know or take: dotted name -> value. The file keeps them where they are."""

    @property
    def order(self) -> tuple[int, datetime, str]:
        """Sorts runs, oldest first."""
        return self.number, self.started_at, self.run_id


FileStamp = tuple[str, int, int, int]
"""A file's name, size in bytes, inode and time of change in ns."""


ADAPTER = "adapter"
"""Folder of a policy that is an adapter on its base, in PEFT's format."""


class PolicyRef(Frozen):
    """A resolved policy: its digest is what keys contain, its folder is where it lies now."""

    digest: Digest
    folder: Path
    """Configuration, tokenizer and processor; the weights too, or an adapter."""
    stamps: tuple[FileStamp, ...] = ()
    """Of every file when its content was hashed; empty: whether it has changed is not asked."""
    base: PolicyRef | None = None
    """What its adapter goes onto, a folder with weights; None: it has the weights itself."""

    @property
    def weights_folder(self) -> Path:
        """Where whole weights lie: its own, or its base's."""
        return self.base.folder if self.base else self.folder

    @property
    def adapter_folder(self) -> Path | None:
        """What goes onto these weights; None for nothing."""
        return self.folder / ADAPTER if self.base else None


class SamplingRequest(Frozen):
    """What to sample: all of it is part of the candidates' key."""

    splits: list[Split]
    num_candidates: int = Field(ge=0)
    """Sampled ones; 0: none, where `greedy`."""
    greedy: bool
    """Also the greedy answer of every prompt, as index -1."""
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    shard_prompts: int
    engine: Literal["vllm", "transformers"]
    dtype: Literal["float32", "bfloat16"]
    max_model_len: int
    older_policies: list[Digest] = []
    """Policies whose answers may be taken over besides the policy's own, newest first."""
    pixel_limits: PixelLimits = NO_LIMITS
    """Of the policy's image processor."""

    @model_validator(mode="after")
    def _check_answers(self) -> SamplingRequest:
        if not (self.num_candidates or self.greedy):
            raise ValueError("asks for no answer: num_candidates is 0, and greedy is false")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_unset_limits(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Where none is set a key says nothing of them, as before there were any."""
        fields: dict[str, Any] = serialize(self)
        limits = self.pixel_limits.describe()
        fields.pop("pixel_limits", None)
        return {**fields, "pixel_limits": limits} if limits else fields


class SampleFiles(Frozen):
    """The files of a sample set, where they can be read now."""

    parts: list[Path]
    """Rows of schemas.arrow.SAMPLES, in order."""
    packs: list[Path]
    """The images that the rows name."""


class SamplingJob(Frozen):
    """One generation child process: a request, a policy, and how to use this machine."""

    request: SamplingRequest
    policy: PolicyRef
    samples: SampleFiles
    key: Digest
    attempt: int
    folder: Path
    """Where the shards go."""
    shards: list[int] = []
    """Numbers of those that this child makes, ascending."""
    reused_files: list[Path] = []
    """Verified candidate files to take the other answers of these shards from, best first."""
    rank: int = 0
    """Of `world` children, for its share of the GPUs and its log."""
    world: int = 1
    profile: Path | None = None
    """Folder for a profile of its first steps; None: none is taken."""
    threads: int
    loader_workers: int = 1
    most_images: int = 1
    """Of any prompt: what the engine must have room for."""
    kv_cache_gb: float
    gpu_memory_utilization: float
    tensor_parallel: int


class MeasureJob(Frozen):
    """What doctor asks a policy's processor, in a child process."""

    folder: Path
    """The policy's."""
    prompts: list[list[dict[str, Any]]]
    """Chat messages (schemas.arrow.MESSAGE), with a part for each image."""
    sizes: list[tuple[int, int]]
    """Of images: width and height in pixels."""
    pixel_limits: PixelLimits = NO_LIMITS


class Measured(Frozen):
    """What a policy's processor makes of prompts and images."""

    problem: str | None = None
    """Why it cannot be loaded: then nothing is counted."""
    prompt_tokens: list[int] = []
    """A prompt: tokens with one placeholder for each image."""
    image_tokens: list[int | None]
    """A size: tokens that such an image adds; None where it is refused or nothing is counted."""
    refusals: list[str | None]
    """A size: why such an image is refused."""
    disagreement: str | None = None
    """How engines would be given other tokens than transformers makes."""


ReferenceOf = Literal["lists", "crops", "tokens"]
"""What log-probabilities are of: the lists' answers, those of crops, or the answers' tokens."""


class ReferenceJob(Frozen):
    """Log-probabilities of all lists' answers under one frozen model."""

    name: str
    """start, base or extra-1, extra-2, ..., and the first two with -crops or -tokens."""
    policy: PolicyRef
    of: ReferenceOf = "lists"
    key: Digest
    parts: list[Path | None]
    """Of each part of the lists, where the store has its log-probabilities; None: nowhere yet."""
    folder: Path
    """Where the child writes the others."""

    def list_paths(self) -> list[Path]:
        """Where each part lies, or will."""
        own = (self.folder / f"part-{number:05d}.parquet" for number in range(len(self.parts)))
        return [known or path for known, path in zip(self.parts, own, strict=True)]


class DegradedJob(Frozen):
    """Degraded versions of the best answers of all lists."""

    key: Digest
    parts: list[Path]
    """Of each part of the lists, where its versions lie, or where the child writes them."""
    is_kept: bool
    """Whether the store has them."""


class TrainJob(Frozen):
    """One training child process."""

    config: RefreshConfig
    policy: PolicyRef
    references: list[ReferenceJob]
    """Those the objective may ask for; further ones in the order of the configuration."""
    samples: SampleFiles
    lists: list[Path]
    """Rows of schemas.arrow.PREFERENCES, in order."""
    folder: Path
    """The workspace; model/ in it is the result, work/ holds resumable checkpoints."""
    contrasts: list[Path] = []
    """Rows of schemas.arrow.TOKEN_VALUES, in parts as the lists', where the objective weighs
    tokens."""
    store: Address | Path
    """Where replies of judges are kept."""
    profile: Path | None = None
    """Folder for a profile of a few steps; None: none is taken."""
    scores: list[Path] = []
    """Rows of schemas.arrow.SCORES, of each part of the lists; none where nothing asks for them."""
    degraded: DegradedJob | None = None
    """None where no degree is told."""


ContrastSide = Literal["better", "worse"]
CONTRAST_SIDES: tuple[ContrastSide, ...] = ("better", "worse")


class ContrastJob(Frozen):
    """One child process of the contrast stage: one of its two policies."""

    side: ContrastSide
    training: TrainJob
    """Of a policy that is trained; whatever else it needs to know of one that is told."""
    table: ReferenceJob
    """What it says of every token of the lists' answers."""
    trained: Path
    """Where what was trained goes."""
    instruction: str | None
    """What follows every question; None: it is trained."""


class BenchmarkJob(Frozen):
    """One child process: a harness of somebody else on one policy."""

    policy: PolicyRef
    dtype: Literal["float32", "bfloat16"]
    """In which an adapter is merged into what it goes onto."""
    command: list[str]
    """With the words of schemas.benchmark_config in it; the program by its path."""
    settings: dict[str, Any]
    env: dict[str, str]
    folder: Path
    """Working directory."""
    output: Path
    scratch: Path
    """For merged weights, and for the file of the settings."""
    timeout_s: float


class RankedTable(Frozen):
    """Held-out lists under one image, and where their log-probabilities go."""

    lists: list[Path]
    packs: list[Path]
    """The images that the lists name."""
    table: ReferenceJob


class RankingJob(Frozen):
    """One child process that asks a frozen policy about held-out lists."""

    training: TrainJob
    """What loads the policy; nothing is trained."""
    tables: list[RankedTable]


class OwnRewardJob(Frozen):
    """What a child asks of one's own reward."""

    file: Path
    """Of the module."""
    module: str
    function: str
    folder: Path | None
    """Where else it may import from."""
    samples: list[dict[str, Any]]
    """Rows of schemas.arrow.SAMPLES."""
    packs: list[Path]
    """The images that they name."""
    answers: list[tuple[int, str]]
    """Number of the sample, and the text."""
    calls: list[list[int]]
    """Numbers of the answers of each call."""
