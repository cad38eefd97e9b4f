"""The train section of the configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from schemas.base import Section

ObjectiveName = Literal[
    "perpo", "plackett_luce", "lipo_lambda", "dpo", "sft", "rpo", "sdpo", "mdpo", "mrpo",
    "tis_dpo",
    "rosepo", "p3o",
]  # fmt: skip
PairChoice = Literal[
    "best_worst", "best_rest", "adjacent", "all", "hardest", "nearest", "popular",
]  # fmt: skip

P3oClip = Literal["joint", "separate"]
MAX_SMOOTHING_SLOPE = 10_000.0
"""Per unit of reward: the order of two rewards that differ by a thousandth is sure."""


class TrainConfig(Section):
    """Training on the ranked lists."""

    objective: ObjectiveName = "perpo"
    """perpo: all pairs, weighted by reward gap; plackett_luce: likelihood of the ranking;
    lipo_lambda: all pairs, weighted by rank and gain; dpo: the pairs of `pairs`; rpo: dpo plus the
    chosen answers' likelihood; sdpo: the best answer against all worse ones at once; mdpo: dpo of
    best and worst plus the conditional and the anchor term; mrpo: dpo against several references;
    tis_dpo: dpo whose tokens weigh by what [contrast] finds telling; rosepo: dpo on pairs of which
    each may be the wrong way round; p3o: policy gradient on all pairs, clipped; sft: likelihood of
    the best answer."""
    beta: float = Field(default=0.1, gt=0, le=100)
    """Strength of the pull towards the reference (PerPO: 0.1)."""
    gamma: float = Field(default=0.5, ge=0, le=10)
    """perpo, and tis_dpo with tis_pairs = gap: pair weight |reward gap|^gamma (PerPO: 0.5); 0: all
    pairs of different rewards alike."""
    pairs: PairChoice = "best_worst"
    """dpo, rpo, mrpo, tis_dpo, rosepo: which pairs of a list are compared; best_rest: the best
    answer with every worse one; adjacent: neighbours by reward; all: every two of different
    rewards; hardest, nearest, popular: the best answer with the worse one that the reference finds
    most likely, that is closest to it (by IoU where it states boxes, else by edit similarity), or
    that most lists of its task hold."""
    rpo_eta: float = Field(default=0.2, ge=0, le=100)
    """rpo: weight of the chosen answers' negative log-likelihood (RPO: 0.2 averaged, 0.005
    cumulative)."""
    rpo_nll: Literal["averaged", "cumulative"] = "averaged"
    """rpo: that likelihood a token, or of the whole answer and times beta."""
    mrpo_clip: float = Field(default=0.1, ge=0, le=1)
    """mrpo: how far a further reference may lie from the start policy, as a share of its
    log-probability (MRPO: 0.1); the two answers of a pair divide it."""
    tis_pairs: Literal["alike", "gap"] = "alike"
    """tis_dpo: the pairs of `pairs`, all alike, or all pairs weighed by reward gap as in perpo."""
    tis_low: float = Field(default=-0.5, ge=-10, le=10)
    """tis_dpo: a token's log-ratio of the contrastive policies counts as this at least, nats."""
    tis_high: float = Field(default=1.5, ge=-10, le=10)
    """tis_dpo: and as this at most."""
    tis_scale: float = Field(default=1.0, gt=0, le=100)
    """tis_dpo: weight of a token about which the contrastive policies agree."""
    smoothing: Literal["gap", "column"] = "gap"
    """rosepo: how probably a pair is the wrong way round. gap: 1 / (1 + exp(slope * reward gap));
    column: the mean of its answers' reward `smoothing_column`."""
    smoothing_slope: float | None = Field(default=None, gt=0, le=MAX_SMOOTHING_SLOPE)
    """rosepo, by gap: how soon a reward gap is trusted, per unit of reward. None: fitted to how
    often second rewards of a task (mixtures of [score]; a weight of 0 adds nothing to the total)
    turn pairs of the training lists round."""
    smoothing_column: str | None = Field(default=None, min_length=1, max_length=200)
    """rosepo, by column: a reward of [score], with whatever weight, that is a probability, 0 to 1:
    how far the place of an answer, or of all answers to a sample, can be doubted."""
    clip: P3oClip = "joint"
    """p3o: joint: the difference of two answers' log-ratios to their sampler is clipped (V2);
    separate: each answer's ratio (V1)."""
    clip_range: float = Field(default=0.2, gt=0, le=1)
    """p3o: how far that goes before it is clipped: nats, or the ratio's distance from 1."""
    kl_weight: float = Field(default=0.0, ge=0, le=100)
    """p3o: takes this times log(sampler / reference) from an answer's reward. Where the reference
    is the sampler (reference = start) that is 0."""
    reference: Literal["start", "base"] = "start"
    """What the policy is held to: the policy this round starts from, or policy.base."""
    reference_logps: Literal["computed", "sampled"] = "computed"
    """computed: the reference's log-probabilities by a forward pass, once, kept in the store;
    sampled: with reference = start, those the sampler reported of its own answers (at whatever
    temperature: they are the model's own), compared with a forward of a few lists."""
    extra_references: list[str] = Field(default=[], max_length=8)
    """mrpo: further frozen references beside the start policy, folders or cached hub ids of models
    with the policy's tokenizer; relative folders are relative to the working directory."""
    image: Literal["kept", "blank"] = "kept"
    """blank: every image of the training prompts is grey, for policy and reference, so that only
    text is left to learn from: what a training gains beside it needs the image (PerPO's figure 1).
    Checkpoints are chosen, and policies evaluated, with the images."""
    nll_weight: float = Field(default=0.0, ge=0, le=100)
    """Adds this times -log p(best answer)/its length: holds the best answer's likelihood up."""
    conditional_weight: float = Field(default=0.0, ge=0, le=100)
    """Adds this times mDPO's conditional term: the best answer with the image against the same
    answer with a crop of it, a second and shorter forward pass (mDPO: 1, included in mdpo)."""
    anchor_weight: float = Field(default=0.0, ge=0, le=100)
    """Adds this times mDPO's anchor: the best answer's likelihood shall not fall below the
    reference's (mDPO: 1, included in mdpo)."""
    degree_weight: float = Field(default=0.0, ge=0, le=100)
    """Adds this times SPO's degree loss: how far each of `degrees` versions of the best answer is
    degraded shall be told from the policy's hidden state at its end token (docs/degrees.md)."""
    degrees: int = Field(default=4, ge=2, le=16)
    """With degree_weight: versions of the best answer, itself and ever worse ones."""
    degree_learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """With degree_weight: peak learning rate of the layer that tells the degrees, which is thrown
    away when the training ends."""
    adapter: Literal["lora", "full"] = "lora"
    """Train low-rank adapters on the language model, or every weight."""
    lora_rank: int = Field(default=128, ge=1, le=4096)
    """Rank of the adapters (PerPO: 128)."""
    lora_alpha: int = Field(default=256, ge=1, le=65_536)
    """Scale of the adapters (PerPO: 256)."""
    quantize: Literal["none", "nf4"] = "none"
    """nf4, with adapter = lora: the language model's frozen weights in 4 bits (QLoRA, arXiv
    2305.14314); the result goes onto the weights as they were."""
    save: Literal["auto", "merged"] = "auto"
    """What a training leaves. auto: where adapters are all that was trained, the adapter alone, for
    the weights it was trained on; merged: whole weights always, as for everything else that is
    trained and for models that vLLM takes no adapters of."""
    max_chain_rank: int = Field(default=512, ge=1, le=512)
    """Rank up to which one round's adapter joins those of the rounds before it; beyond it they are
    merged into whole weights, which later adapters go onto. vLLM takes 512 at most."""
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
    """Tokens a forward pass computes at most; a longer list runs alone. Where answers cannot share
    their prompt, it is computed once an answer and counts as often."""
    eval_every_steps: int = Field(default=50, ge=1, le=1_000_000)
    """Steps between checkpoints, each measured on the selection split, which chooses
    among them and the start."""
    eval_prompts: int = Field(default=384, ge=1, le=1_000_000)
    """Selection prompts a measurement, shared out over the tasks."""
    patience: int = Field(default=4, ge=1, le=1000)
    """Stop after this many measurements without a better one."""
    displacement_nats: float = Field(default=1.0, gt=0, le=1e6)
    """Warn when the best answers are on average less likely than under the reference by more than
    this, nats."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Order of the lists, initial adapters, crops of the conditional term, degraded versions."""
    threads: int = Field(default=2, ge=1, le=256)
    """CPU threads of training; unused on a GPU."""
    loader_workers: int = Field(default=0, ge=0, le=64)
    """Processes of each training process that read, decode and pack the lists of the next steps
    while it computes; 0: it does so itself, which is as fast where no GPU waits."""
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

    @property
    def weighs_tokens(self) -> bool:
        """Whether the objective looks at tokens, which [contrast] weighs."""
        return self.objective == "tis_dpo"

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
        if self.weighs_tokens and self.reference_logps == "sampled":
            raise ValueError(
                "objective tis_dpo needs the reference's log-probability of every token, and the "
                "sampler's are kept of whole answers; set reference_logps = computed"
            )
        if self.image == "blank" and (self.reference_logps == "sampled" or self.objective == "p3o"):
            raise ValueError(
                "image = blank needs log-probabilities without the images, and the sampler's are "
                "with them: set reference_logps = computed and another objective than p3o"
            )
        if self.tis_low > self.tis_high:
            raise ValueError(f"tis_low ({self.tis_low:g}) is above tis_high ({self.tis_high:g})")
        if (self.smoothing == "column") != (self.smoothing_column is not None):
            raise ValueError(
                "smoothing = column and smoothing_column, the reward it is read from, go together; "
                "set both or neither"
            )
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
