"""The configuration of a refresh: one TOML file, every field bounded, unknown keys refused.

Each stage reads its own section (and what the stage's key function names besides); the resolved
copy is kept with the run. A field's docstring is its documentation: `perpo config` prints them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from schemas.base import (
    ALL_STAGES,
    STAGES,
    Address,
    BoxFormatName,
    PixelLimits,
    Section,
    StageName,
    TaskName,
    refuse_empty,
)
from schemas.benchmark_config import BenchmarkConfig, BenchmarkName
from schemas.compare_config import CompareConfig
from schemas.contrast_config import ContrastConfig
from schemas.sources import DigitsSource, Source
from schemas.task_reward import RewardChoice
from schemas.train_config import TrainConfig
from schemas.tune_config import TuneConfig

JudgedSplit = Literal["validation", "test"]
CountReading = Literal["digits", "words"]


class PolicyConfig(Section):
    """The model being improved."""

    model: str = "builtin"
    """"builtin", a folder, a hub id already in the local cache, or "promoted"."""
    base: str | None = None
    """Where the rounds began: what "promoted" means before the first promotion, and the reference
    of train.reference = "base"; a folder or cached hub id. None: model, or builtin if promoted."""
    box_format: BoxFormatName = "norm1"
    """How this model writes boxes; `perpo doctor CONFIG --probe` measures which one scores."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of sampling and training; bfloat16 on a GPU."""
    max_model_len: int = Field(default=512, ge=64, le=131_072)
    """Tokens of prompt (image tokens included) and answer together."""
    max_pixels: int | None = Field(default=None, ge=784, le=268_435_456)
    """Largest image that the model is shown, pixels in all, wherever it is asked or trained; larger
    ones are scaled down by its processor. For those of Qwen2-VL and its successors, Idefics3 and
    SmolVLM. None: the processor's own limit."""
    min_pixels: int | None = Field(default=None, ge=784, le=268_435_456)
    """Smallest one; smaller ones are scaled up. For those of Qwen2-VL and its successors."""

    @model_validator(mode="after")
    def _check_pixels(self) -> PolicyConfig:
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise ValueError(
                f"min_pixels {self.min_pixels} is more than max_pixels {self.max_pixels}; lower it"
            )
        return self

    @property
    def pixel_limits(self) -> PixelLimits:
        return PixelLimits(min_pixels=self.min_pixels, max_pixels=self.max_pixels)


class GenerateConfig(Section):
    """Sampling the candidates of every training prompt, with vLLM."""

    num_candidates: int = Field(default=16, ge=2, le=256)
    """Answers sampled a prompt (G)."""
    temperature: float = Field(default=1.0, gt=0, le=4)
    """Sampling temperature; at 1 the sampler's log-probabilities are the policy's own."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling; 1 keeps the whole distribution."""
    max_tokens: int = Field(default=40, ge=1, le=32_768)
    """Longest answer; longer ones are cut off and never enter a list."""
    shard_prompts: int = Field(default=256, ge=1, le=100_000)
    """Prompts a shard, which is written when they are finished; what a killed run loses are the
    shards in hand, usually two of each engine."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Run seed; a prompt's own seed is derived from it and the prompt's identity."""
    max_policy_age: int = Field(default=0, ge=0, le=16)
    """Take over answers of policies promoted at most so many promotions before the present one
    (the policy of the first round counts); 0: strictly on-policy, only the present one's own."""
    engine: Literal["vllm", "transformers"] = "vllm"
    """transformers is the slow reference that tests compare against."""
    processes: int = Field(default=2, ge=1, le=64)
    """Engines side by side, each with its share of the shards (and, on GPUs, its own devices)."""
    threads: int = Field(default=1, ge=1, le=256)
    """CPU threads of each engine; more than are really free makes it many times slower."""
    loader_workers: int = Field(default=1, ge=1, le=64)
    """Processes of each engine that decode and prepare images ahead of it, so that it never waits;
    one prepares some tens of large photos a second. transformers prepares its own."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of GPU memory the engine takes; unused on CPU."""
    kv_cache_gb: float = Field(default=1.0, gt=0, le=10_000)
    """KV cache on CPU, GiB; unused on a GPU."""
    tensor_parallel: int = Field(default=1, ge=1, le=64)
    """GPUs a model copy is spread over."""
    progress_timeout_s: float = Field(default=900, gt=0, le=86_400)
    """The engine is ended when no shard finishes for this long."""


class ScoreConfig(Section):
    """Rewards: how good each answer is, by task.

    A task that has no line here is named alike, `TASK = "REWARD"` or a table; left out, it has the
    default reward that its file in perpo_core/perception/tasks says.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, RewardChoice]

    grounding: RewardChoice = "iou"
    """iou: intersection over union with the true box (PerPO section 3)."""
    ocr: RewardChoice = "edit_similarity"
    """edit_similarity: 1 - normalised edit distance."""
    counting: RewardChoice = "count_accuracy"
    """count_accuracy: 1 - relative error, floored at 0; exact_match: 1 or 0."""
    count_reading: CountReading = "digits"
    """digits: a count is one whole number in digits; words: or in English words up to 999, or as a
    decimal without a fraction, such as 3.0. Anything else is refused with its reason."""
    collapse_whitespace: bool = True
    """Compare OCR texts with every run of white space as one space."""
    on_unparsed: Literal["zero", "drop"] = "zero"
    """An answer that a reward cannot read scores 0, or the lowest total there can be where that is
    less than 0; or it leaves the list with its reason."""
    reward_folder: Path | None = None
    """Folder in which the modules of one's own rewards ("MODULE:FUNCTION") are looked for before
    the installed ones; left out: the configuration file's own."""
    workers: int = Field(default=2, ge=1, le=256)
    """Score tasks side by side, each with its share of the shards."""


class ListsConfig(Section):
    """From scored candidates to ranked lists."""

    min_gap: dict[TaskName, Annotated[float, Field(ge=0, le=1000)]] = {
        "grounding": 0.8,
        "ocr": 0.04,
        "counting": 0.04,
    }
    """A list stays only if best minus worst reward reaches this (0.8 and 0.04: the paper)."""
    list_size: int = Field(default=16, ge=2, le=256)
    """Longest list; of more answers, evenly spaced ranks are kept, best and worst included."""
    max_lists: int | None = Field(default=None, ge=1)
    """At most this many lists a task, the widest gaps first; None keeps all."""
    drop_duplicates: bool = True
    """Answers with the same text count once."""


class EvaluateConfig(Section):
    """Base against trained on held-out prompts."""

    splits: list[JudgedSplit] = Field(default=["validation", "test"], min_length=1, max_length=2)
    """Whose prompts are answered: validation, where gates look, and test, which the report shows.
    Without validation nothing is promoted."""
    num_samples: int = Field(default=4, ge=2, le=256)
    """Answers sampled a prompt at the sampling temperature: expected reward and best of n."""
    bootstrap_resamples: int = Field(default=2000, ge=100, le=1_000_000)
    """Resamples of the paired bootstrap."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    """Of the evaluation samples and the bootstrap."""
    probe_prompts: int = Field(default=192, ge=0, le=100_000)
    """Test samples a task that are asked again with grey, another sample's and cropped images: how
    much of the gain needs the right one (docs/probes.md); 0: none."""
    min_image_share: float = Field(default=0.5, ge=0, le=1)
    """The report warns where surely less than this share of a gain needs the right image."""
    gallery_size: int = Field(default=12, ge=0, le=200)
    """Lists shown in the report's gallery."""
    benchmarks: dict[BenchmarkName, BenchmarkConfig] = {}
    """Harnesses of somebody else that are run on base and trained: docs/benchmarks.md."""


class PromoteConfig(Section):
    """Gates on the validation split; all must pass for the promoted policy to move, against the
    policy the run started from and against the one promoted by then."""

    enabled: bool = True
    """false: the decision is made and reported, and moves nothing: for experiments in a store whose
    promoted policy others build on."""
    without_champion: bool = False
    """true: where the promoted policy can no longer be compared, because its folder is gone, the
    gates against the start policy are enough; false: nothing is promoted then."""

    min_gain: dict[TaskName, dict[str, float]] = {"grounding": {"sampled_reward": 0.0}}
    """Task -> metric -> the lower end of the 95% interval of its change must exceed this. It has to
    name a task of the source, or nothing is promoted."""
    max_loss: dict[TaskName, dict[str, Annotated[float, Field(ge=0)]]] = {
        "grounding": {"greedy_reward": 0.01},
        "ocr": {"greedy_reward": 0.01},
        "counting": {"greedy_reward": 0.02},
    }
    """Task -> metric -> its mean change must not fall below minus this; {} asks for none of it."""
    max_loss_benchmarks: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = {}
    """Name in evaluate.benchmarks -> metric -> it must not get worse by more than this, in its own
    units."""
    approval: bool = False
    """true: a promotion whose gates passed waits until a person says so, with `perpo approve RUN`
    or in the UI of `perpo serve`."""


class RefreshConfig(Section):
    """One refresh, from samples to promotion."""

    name: str = Field(default="refresh", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """Names the runs; lower case, digits and dashes."""
    store: Annotated[Address | Path, BeforeValidator(refuse_empty)] = Path("store")
    """Folder of all artifacts, relative to the working directory; or s3://bucket/prefix."""
    min_free_disk_gb: float = Field(default=1.0, ge=0, le=1e6)
    """No refresh and no stage of it starts with less free disk where the store is, GB."""
    source: Source = Field(default=DigitsSource(), discriminator="kind")
    """Where prompts and truths come from."""
    policy: PolicyConfig = PolicyConfig()
    generate: GenerateConfig = GenerateConfig()
    score: ScoreConfig = ScoreConfig()
    lists: ListsConfig = ListsConfig()
    contrast: ContrastConfig = ContrastConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    promote: PromoteConfig = PromoteConfig()
    tune: TuneConfig = TuneConfig()
    compare: CompareConfig = CompareConfig()

    @property
    def stages(self) -> tuple[StageName, ...]:
        """What a run goes through, in order."""
        return ALL_STAGES if self.train.weighs_tokens else STAGES
