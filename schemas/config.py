"""The configuration of a refresh: one TOML file, every field bounded, unknown keys refused.

Each stage reads its own section (and what the stage's key function names besides); the resolved
copy is kept with the run. A field's docstring is its documentation: `perpo config` prints them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from schemas.base import Frozen, Task

BoxFormatName = Literal["norm1", "norm1_padded", "norm1000", "pixels", "pixels_resized"]
ObjectiveName = Literal[
    "perpo", "plackett_luce", "lipo_lambda", "dpo", "sft", "rpo", "sdpo", "mdpo", "mrpo",
]  # fmt: skip
PairChoice = Literal["best_worst", "best_rest", "adjacent", "all"]


class Section(Frozen):
    """A section of the configuration; docstrings under fields become their descriptions."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class DigitsSource(Section):
    """Scenes composed from real handwritten digits; nothing is downloaded."""

    kind: Literal["digits"] = "digits"
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the scenes."""
    train: dict[Task, Annotated[int, Field(ge=0, le=1_000_000)]] = {
        "grounding": 1280,
        "ocr": 256,
        "counting": 256,
    }
    """Training prompts by task."""
    validation: dict[Task, Annotated[int, Field(ge=0, le=1_000_000)]] = {
        "grounding": 384,
        "ocr": 128,
        "counting": 128,
    }
    """Validation prompts by task: checkpoint choice and promotion gates."""
    test: dict[Task, Annotated[int, Field(ge=0, le=1_000_000)]] = {
        "grounding": 2048,
        "ocr": 512,
        "counting": 512,
    }
    """Test prompts by task: the report."""


class JsonlSource(Section):
    """One's own images and truths: JSON Lines, one sample a line (README, "Your own data")."""

    kind: Literal["jsonl"] = "jsonl"
    files: list[Path] = Field(min_length=1)
    """JSON Lines files; relative paths are relative to the configuration file."""
    validation_share: float = Field(default=0.15, ge=0, le=0.5)
    """Share of the images that become validation, where a row names no split."""
    test_share: float = Field(default=0.25, ge=0, le=0.9)
    """Share of the images that become test, where a row names no split."""
    on_bad_row: Literal["fail", "drop"] = "fail"
    """fail: the first bad row ends the run, named; drop: bad rows are counted and set aside."""
    max_image_megapixels: float = Field(default=100.0, gt=0, le=1000)
    """Larger images are refused before they are decoded."""
    max_image_side: int = Field(default=2048, ge=16, le=16384)
    """Pixels; longer images are scaled down once, on the way in; boxes are relative and stay."""


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
    """Prompts a shard: a killed run loses at most this much."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Run seed; a prompt's own seed is derived from it and the prompt's identity."""
    engine: Literal["vllm", "transformers"] = "vllm"
    """transformers is the slow reference that tests compare against."""
    processes: int = Field(default=2, ge=1, le=64)
    """Engines side by side, each with its share of the shards (and, on GPUs, its own devices)."""
    threads: int = Field(default=1, ge=1, le=256)
    """CPU threads of each engine; more than are really free makes it many times slower."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of GPU memory the engine takes; unused on CPU."""
    kv_cache_gb: float = Field(default=1.0, gt=0, le=10_000)
    """KV cache on CPU, GiB; unused on a GPU."""
    tensor_parallel: int = Field(default=1, ge=1, le=64)
    """GPUs a model copy is spread over."""
    progress_timeout_s: float = Field(default=900, gt=0, le=86_400)
    """The engine is ended when no shard finishes for this long."""


class ScoreConfig(Section):
    """Rewards: how good each answer is, by task."""

    grounding: Literal["iou"] = "iou"
    """Intersection over union with the true box (PerPO section 3)."""
    ocr: Literal["edit_similarity"] = "edit_similarity"
    """1 - normalised edit distance."""
    counting: Literal["count_accuracy", "exact_match"] = "count_accuracy"
    """count_accuracy: 1 - relative error, floored at 0; exact_match: 1 or 0."""
    collapse_whitespace: bool = True
    """Compare OCR texts with every run of white space as one space."""
    on_unparsed: Literal["zero", "drop"] = "zero"
    """An answer the parser cannot read scores 0, or leaves the list with its reason."""
    workers: int = Field(default=2, ge=1, le=256)
    """Score tasks at the same time; shard ranges are at most four times this."""


class ListsConfig(Section):
    """From scored candidates to ranked lists."""

    min_gap: dict[Task, Annotated[float, Field(ge=0, le=1)]] = {
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


class TrainConfig(Section):
    """Training on the ranked lists."""

    objective: ObjectiveName = "perpo"
    """perpo: all pairs, weighted by reward gap; plackett_luce: likelihood of the ranking;
    lipo_lambda: all pairs, weighted by rank and gain; dpo: the pairs of `pairs`; rpo: dpo plus the
    chosen answers' likelihood; sdpo: the best answer against all worse ones at once; mdpo: dpo of
    best and worst plus the conditional and the anchor term; mrpo: dpo against several references;
    sft: likelihood of the best answer."""
    beta: float = Field(default=0.1, gt=0, le=100)
    """Strength of the pull towards the reference (PerPO: 0.1)."""
    gamma: float = Field(default=0.5, ge=0, le=10)
    """perpo: pair weight |reward gap|^gamma (PerPO: 0.5); 0: all pairs of different rewards
    alike."""
    pairs: PairChoice = "best_worst"
    """dpo, rpo, mrpo: which pairs of a list are compared; best_rest: the best answer with every
    worse one; adjacent: neighbours by reward; all: every two of different rewards."""
    rpo_eta: float = Field(default=0.2, ge=0, le=100)
    """rpo: weight of the chosen answers' negative log-likelihood (RPO: 0.2 averaged, 0.005
    cumulative)."""
    rpo_nll: Literal["averaged", "cumulative"] = "averaged"
    """rpo: that likelihood a token, or of the whole answer and times beta."""
    mrpo_clip: float = Field(default=0.1, ge=0, le=1)
    """mrpo: how far a further reference may lie from the start policy, as a share of its
    log-probability (MRPO: 0.1); the two answers of a pair divide it."""
    reference: Literal["start", "base"] = "start"
    """What the policy is held to: the policy this round starts from, or policy.base."""
    reference_logps: Literal["computed", "sampled"] = "computed"
    """computed: the reference's log-probabilities by a forward pass, once, kept in the store;
    sampled: with reference = start, those the sampler reported of its own answers (at whatever
    temperature: they are the model's own), compared with a forward of a few lists."""
    extra_references: list[str] = Field(default=[], max_length=8)
    """mrpo: further frozen references beside the start policy, folders or cached hub ids of models
    with the policy's tokenizer; relative folders are relative to the working directory."""
    nll_weight: float = Field(default=0.0, ge=0, le=100)
    """Adds this times -log p(best answer)/its length: holds the best answer's likelihood up."""
    conditional_weight: float = Field(default=0.0, ge=0, le=100)
    """Adds this times mDPO's conditional term: the best answer with the image against the same
    answer with a crop of it, a second and shorter forward pass (mDPO: 1, included in mdpo)."""
    anchor_weight: float = Field(default=0.0, ge=0, le=100)
    """Adds this times mDPO's anchor: the best answer's likelihood shall not fall below the
    reference's (mDPO: 1, included in mdpo)."""
    adapter: Literal["lora", "full"] = "lora"
    """Train low-rank adapters on the language model, or every weight."""
    lora_rank: int = Field(default=128, ge=1, le=4096)
    """Rank of the adapters (PerPO: 128)."""
    lora_alpha: int = Field(default=256, ge=1, le=65_536)
    """Scale of the adapters (PerPO: 256)."""
    quantize: Literal["none", "nf4"] = "none"
    """nf4, with adapter = lora: the language model's frozen weights in 4 bits (QLoRA, arXiv
    2305.14314); the result is merged into the weights as they were."""
    learning_rate: float = Field(default=5e-6, gt=0, le=1)
    """Peak learning rate (PerPO: 5e-6 for 7B models; small models want more)."""
    projector_learning_rate: float | None = Field(default=None, gt=0, le=1)
    """Peak learning rate of what joins vision tower and language model (PerPO: 5e-6). None: with
    adapter = lora it is frozen, with full it trains at learning_rate."""
    vision_learning_rate: float | None = Field(default=None, gt=0, le=1)
    """Peak learning rate of the vision tower (PerPO on pages: 5e-7). None: it is frozen."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    warmup_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps in which the learning rate rises."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls afterwards."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """AdamW weight decay."""
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    """How long AdamW remembers the size of gradients; short runs want less (mDPO: 0.98)."""
    max_grad_norm: float = Field(default=1.0, gt=0, le=1e6)
    """Gradients are scaled down to this norm."""
    epochs: float = Field(default=1.0, gt=0, le=1000)
    """Passes over the lists."""
    batch_lists: int = Field(default=8, ge=1, le=4096)
    """Lists an optimiser step, over all processes."""
    micro_batch_lists: int = Field(default=8, ge=1, le=4096)
    """Lists a forward pass at most; the gradient of a step does not depend on it."""
    micro_batch_tokens: int = Field(default=16_384, ge=1, le=1_000_000_000)
    """Tokens a forward pass at most; a longer list runs alone."""
    eval_every_steps: int = Field(default=50, ge=1, le=1_000_000)
    """Steps between checkpoints, each measured on the validation split."""
    eval_prompts: int = Field(default=384, ge=1, le=1_000_000)
    """Validation prompts a measurement, shared out over the tasks."""
    patience: int = Field(default=4, ge=1, le=1000)
    """Stop after this many measurements without a better one."""
    displacement_nats: float = Field(default=1.0, gt=0, le=1e6)
    """Warn when the best answers are on average less likely than under the reference by more than
    this, nats."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Order of the lists, initial adapters, crops of the conditional term."""
    threads: int = Field(default=2, ge=1, le=256)
    """CPU threads of training; unused on a GPU."""
    trackers: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = ["tensorboard"]
    """Who else is told loss and metrics. tensorboard writes to the store's folder tensorboard; the
    others' packages and accounts are one's own, and they may reach out."""
    progress_timeout_s: float = Field(default=1800, gt=0, le=86_400)
    """Training is ended when it reports nothing for this long."""

    processes: int = Field(default=1, ge=1, le=1024)
    """Training processes side by side (torchrun), each with its own GPU or its share of threads."""

    sharding: Literal["none", "fsdp"] = "none"
    """fsdp: the processes share out weights, gradients and optimiser states (FSDP2), after each has
    loaded the model once; for models whose training does not fit one GPU."""

    @model_validator(mode="after")
    def _check_combinations(self) -> TrainConfig:
        if self.batch_lists < self.processes:
            raise ValueError(
                f"batch_lists ({self.batch_lists}) must be at least processes ({self.processes}), "
                "a list for each"
            )
        if self.sharding != "none" and (self.processes == 1 or self.quantize != "none"):
            raise ValueError(
                f"sharding = {self.sharding} shares out what 2 or more processes train (processes "
                f"= {self.processes}), with quantize = none ({self.quantize}); set these or "
                "sharding = none"
            )
        if self.quantize != "none" and self.adapter != "lora":
            raise ValueError(
                f"quantize = {self.quantize} trains adapters on frozen 4-bit weights; set adapter "
                "= lora or quantize = none"
            )
        if self.reference_logps == "sampled" and self.reference != "start":
            raise ValueError(
                "reference_logps = sampled are those of the policy that sampled the answers, which "
                "is reference = start; set that or reference_logps = computed"
            )
        return self

    @model_validator(mode="after")
    def _check_objective(self) -> TrainConfig:
        if self.objective == "mrpo" and not self.extra_references:
            raise ValueError(
                "objective mrpo needs extra_references, at least one; with none it is dpo"
            )
        if self.objective != "mrpo" and self.extra_references:
            raise ValueError(
                f"extra_references are read by objective mrpo alone, not by {self.objective}; "
                "remove them"
            )
        if "promoted" in self.extra_references:
            raise ValueError('extra_references cannot name "promoted", which moves; give a folder')
        if self.objective == "mdpo" and self.pairs != "best_worst":
            raise ValueError(
                "objective mdpo compares best_worst; for other pairs set objective = dpo, "
                "conditional_weight = 1 and anchor_weight = 1"
            )
        if self.objective == "mdpo" and (self.conditional_weight or self.anchor_weight):
            raise ValueError(
                "objective mdpo has its conditional and anchor terms already, with weight 1; for "
                "other weights set objective = dpo"
            )
        return self


class EvaluateConfig(Section):
    """Base against trained on held-out prompts."""

    num_samples: int = Field(default=4, ge=2, le=256)
    """Answers sampled a prompt at the sampling temperature: expected reward and best of n."""
    bootstrap_resamples: int = Field(default=2000, ge=100, le=1_000_000)
    """Resamples of the paired bootstrap."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    """Of the evaluation samples and the bootstrap."""
    gallery_size: int = Field(default=12, ge=0, le=200)
    """Lists shown in the report's gallery."""


class PromoteConfig(Section):
    """Gates on the validation split; all must pass for the promoted policy to move."""

    min_gain: dict[Task, dict[str, float]] = {"grounding": {"sampled_reward": 0.0}}
    """Task -> metric -> the lower end of the 95% interval of its change must exceed this."""
    max_loss: dict[Task, dict[str, Annotated[float, Field(ge=0)]]] = {
        "grounding": {"greedy_reward": 0.01},
        "ocr": {"greedy_reward": 0.01},
        "counting": {"greedy_reward": 0.02},
    }
    """Task -> metric -> its mean change must not fall below minus this."""


class RefreshConfig(Section):
    """One refresh, from samples to promotion."""

    name: str = Field(default="refresh", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """Names the runs; lower case, digits and dashes."""
    store: Path = Path("store")
    """Folder of all artifacts; relative to the working directory."""
    min_free_disk_gb: float = Field(default=1.0, ge=0, le=1e6)
    """A refresh does not start with less free disk where the store is, GB."""
    source: DigitsSource | JsonlSource = Field(default=DigitsSource(), discriminator="kind")
    """Where prompts and truths come from."""
    policy: PolicyConfig = PolicyConfig()
    generate: GenerateConfig = GenerateConfig()
    score: ScoreConfig = ScoreConfig()
    lists: ListsConfig = ListsConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    promote: PromoteConfig = PromoteConfig()
