"""What one stage hands to the next: small frozen records; the rows themselves live in Parquet.

`key` says what was asked (stage, version, parents' digests, the configuration the stage reads);
`digest` says what came out (sha256 over the files' sha256). Children key on digests, so nothing
stale can match.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AliasChoices, Field, SerializerFunctionWrapHandler, model_serializer

from schemas.base import Digest, Frozen, Split, StageName, TaskName
from schemas.benchmarks import Benchmarks, BenchmarkScore, leave_out_no_benchmarks
from schemas.probing import ImageProbe, ProbeWay

SCHEMA_VERSION: Final = 1


class FileRef(Frozen):
    """One file of an artifact, relative to the artifact's folder in the store."""

    path: str
    sha256: Digest
    num_bytes: int = Field(ge=0)
    num_rows: int | None = Field(default=None, ge=0)
    """Rows of a Parquet file; None for anything else."""
    num_reused: int = Field(default=0, ge=0)
    """Rows of it that were taken over from earlier artifacts of the same kind."""
    made_of: Digest | None = None
    """What a part was asked for: two parts of a kind that were made of the same hold the same."""
    home: str | None = None
    """Where it lies below the folder of its kind, KEY/part-00000.parquet, if an earlier artifact
    wrote it and this one shares it; None: in its own artifact's folder."""


class Counts(Frozen):
    """Rows in, kept and dropped by reason; nothing vanishes: num_in = num_kept + dropped."""

    num_in: int = Field(ge=0)
    num_kept: int = Field(ge=0)
    dropped: dict[str, int] = {}
    """Reason -> rows."""
    num_reused: int = Field(default=0, ge=0)
    """Of num_in, those whose result was taken over from earlier artifacts instead of made anew."""

    def model_post_init(self, context: object) -> None:
        if self.num_in != self.num_kept + sum(self.dropped.values()):
            raise ValueError(
                f"counts do not add up: {self.num_in} in, {self.num_kept} kept, "
                f"{self.dropped} dropped"
            )
        if self.num_reused > self.num_in:
            raise ValueError(f"counts: {self.num_reused} reused of only {self.num_in} in")


class Parent(Frozen):
    """One input of a stage."""

    kind: str
    key: Digest
    digest: Digest


class Producer(Frozen):
    """What made an artifact; recorded, never part of a key."""

    versions: dict[str, str]
    """Package -> version."""
    device: str
    threads: int
    seed: int
    engine: str | None = None


class Artifact(Frozen):
    """The common part of every artifact."""

    schema_version: Literal[1] = SCHEMA_VERSION
    stage: StageName
    key: Digest
    digest: Digest
    files: list[FileRef]
    counts: Counts
    parents: list[Parent]
    producer: Producer
    created_at: datetime
    seconds: float = Field(ge=0)
    """Wall time of the work that made this, over all attempts that resumed it."""
    attempt: int = Field(default=0, ge=0)
    """0, or the number of the forced remake that made this."""

    def as_parent(self) -> Parent:
        return Parent(kind=self.kind, key=self.key, digest=self.digest)  # type: ignore[attr-defined]


class SampleSet(Artifact):
    """part-*.parquet: prompts with truth, in every split (schemas.arrow.SAMPLES).

    pack-*.parquet: the images that they name by their content (schemas.arrow.PACKS), new ones and
    those of earlier sets. Which packs hold them is no part of the digest.
    """

    kind: Literal["samples"] = "samples"
    looking_digest: Digest | None = None
    """How images were read and encoded: what was found of a file so read holds in later sets.
    None: of none."""
    per_split: dict[str, int]
    """"task/split" -> rows."""


class CandidateSet(Artifact):
    """part-*.parquet: answers to every prompt (schemas.arrow.CANDIDATES); counts are in prompts.

    Where the policy could not take a prompt, dropped.parquet says which and why.
    """

    kind: Literal["candidates"] = "candidates"
    policy_digest: Digest
    """The policy that was asked for; with generate.max_policy_age > 0 rows may be of older ones."""
    sampling_digest: Digest | None = None
    """Policy and sampling settings: of equal ones, answers may be taken over. None: of none."""
    prompts_per_policy: dict[Digest, int] = {}
    """Policy -> prompts it answered."""
    num_prompts: int
    """Asked, answered or not."""
    num_candidates: int
    """Answers, over all prompts."""
    num_tokens: int
    """Sampled tokens over all candidates, end tokens included."""

    @property
    def num_reused_prompts(self) -> int:
        """Prompts whose answers were taken over from earlier candidate sets."""
        return self.counts.num_reused

    @property
    def num_new_prompts(self) -> int:
        """Prompts that were sampled for this set."""
        return self.counts.num_kept - self.counts.num_reused


class ScoredSet(Artifact):
    """part-*.parquet: one reward a candidate and sample (schemas.arrow.SCORES)."""

    kind: Literal["scores"] = "scores"
    mean_reward: dict[TaskName, float]
    scoring_digest: Digest | None = None
    """How answers are judged: of equal ones, scores may be taken over. None: of none."""
    policy_digests: list[Digest] = []
    """The policies whose answers are scored, ascending."""

    @property
    def num_reused(self) -> int:
        """Rows that were taken over from earlier scores."""
        return self.counts.num_reused

    @property
    def num_new(self) -> int:
        """Rows that were scored for this set."""
        return self.counts.num_in - self.counts.num_reused


class PreferenceSet(Artifact):
    """part-*.parquet: one ranked list a row, a part for each of the candidates.

    dropped-*.parquet besides: what is in no list, with reasons.
    """

    kind: Literal["preferences"] = "preferences"
    num_lists: dict[TaskName, int]
    mean_list_size: float


class ReferenceSet(Artifact):
    """part-*.parquet: the answers of the lists under one frozen model (schemas.arrow.REFERENCES).

    A part for each of the lists' own.
    """

    kind: Literal["references"] = "references"
    policy_digest: Digest
    crops: bool
    tokens: bool = False
    """Of every token of the answers (schemas.arrow.TOKEN_VALUES)."""


class ContrastSet(Artifact):
    """part-*.parquet: of every token of the lists' answers, by how much one of two policies finds
    it likelier than the other (schemas.arrow.TOKEN_VALUES), a part for each of the lists' own.

    better/ and worse/: what was trained of the two, if anything.
    """

    kind: Literal["contrast"] = "contrast"
    by: Literal["dpo", "sft", "prompt"]
    policy_digest: Digest
    """The policy that both are made of."""


class DegradedSet(Artifact):
    """part-*.parquet: degraded versions of the lists' best answers (schemas.arrow.DEGRADED).

    A part for each of the lists' own; counts are in lists, dropped those without versions.
    """

    kind: Literal["degraded"] = "degraded"


class TrainPoint(Frozen):
    """One logged training step.

    Its last two fields are measurements of the machine: they differ where everything else of two
    trainings is the same.
    """

    step: int
    loss: float
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    metrics: dict[str, float]
    """Means over the lists of the step, by the names of
    perpo_core/stages/train/objectives/metrics.py, without those that a reference is needed for
    where the objective needs none; where the loss adds up from several, loss/NAME of each, weights
    included."""
    tokens_per_second: float | None = None
    """Packed tokens, prompts and images included, over wall time without evaluation and saving."""
    peak_memory_gb: float | None = None
    """Most memory so far, GB: of tensors on the GPU, or of the process on a CPU."""


class RewardPoint(Frozen):
    """Reward at one checkpoint, on the split that chooses among them."""

    step: int
    mean_reward: float
    """Mean over tasks of the mean greedy reward; the checkpoint is chosen by this."""
    per_task: dict[TaskName, float]


class DegreeReading(Frozen):
    """How well the degrees of answers are told that nobody trained on, with the head's last use.

    The answers are the truths of validation prompts, written as the policy would, and degraded as
    the lists' best answers are.
    """

    step: int
    """Of the checkpoint whose policy and head were asked."""
    confusion: list[list[int]]
    """[degree][told]: versions of each degree by the degree that was told, D x D."""
    prompts: Counts
    """Validation prompts; dropped are those without versions."""
    lists: Counts
    """Lists that were trained on; dropped are those without versions, which told nothing."""

    @property
    def num_versions(self) -> int:
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> float | None:
        """Share that was told right, 1/D by chance; None where nothing was asked."""
        right = sum(row[degree] for degree, row in enumerate(self.confusion))
        return right / self.num_versions if self.num_versions else None


class Checkpoint(Artifact):
    """model/: the chosen checkpoint, as a complete folder that transformers and vLLM load, with
    adapter/ besides, in PEFT's format, where adapters are all that was trained; or as an adapter on
    its base (perpo_core/store/base.py), with base.json besides.
    """

    kind: Literal["checkpoint"] = "checkpoint"
    policy_digest: Digest
    base_policy_digest: Digest
    chosen_step: int
    reference_difference_nats: float = Field(ge=0)
    """Largest difference of an answer's reference log-probability, as trained on, from a live
    forward of a few lists; 0 where they were computed live."""
    history: list[TrainPoint]
    chosen_on: Split = "validation"
    """Where the readings were taken. validation, which judges too: by versions that had no split of
    its own for choosing and did not name it."""
    readings: list[RewardPoint] = Field(validation_alias=AliasChoices("readings", "validation"))
    """[]: nothing to choose by, so that the last step was kept."""
    degree_reading: DegreeReading | None = None
    """None where no degree was told."""


class Metric(Frozen):
    """Base against trained on the same prompts, with a paired bootstrap 95% interval."""

    base: float
    trained: float
    delta: float
    delta_low: float
    delta_high: float
    n: int


class BenchmarkScores(Artifact):
    """output/: what the command of a benchmark left; its log is beside it.

    The digest is of scores.json alone, since the others say when they were made.
    """

    kind: Literal["benchmark"] = "benchmark"
    policy_digest: Digest
    scores: dict[str, BenchmarkScore]
    """Every metric that it reported, by name."""
    unread: dict[str, str] = {}
    """Metric -> what it said instead of a finite number."""


class EvalReport(Artifact):
    """predictions.parquet: every evaluated answer of both policies.

    probes.parquet besides, where any were asked for: their answers to some test samples with other
    images (schemas.arrow.PROBES).
    """

    kind: Literal["evaluation"] = "evaluation"
    metrics: dict[TaskName, dict[str, Metric]]
    """Test split: task -> metric name -> values."""
    validation: dict[TaskName, dict[str, Metric]]
    """The same on the validation split; gates look here, never at the test split."""
    headroom_closed: dict[TaskName, float | None]
    """(trained - base) / (best of n - base) of the greedy reward; None without headroom."""
    image_probe: dict[TaskName, dict[ProbeWay, ImageProbe]] = {}
    """Test split: task -> way -> the gain with other images; {} where none was asked for."""
    benchmarks: Benchmarks = {}

    @model_serializer(mode="wrap")
    def _leave_out_no_benchmarks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return leave_out_no_benchmarks(serialize(self))


class Interval(Frozen):
    """An estimate with its 95% interval over images."""

    value: float
    low: float
    high: float


class TaskDrift(Frozen):
    """How far a trained policy went from its start, on the held-out prompts of one task."""

    kl_nats: Interval
    """KL(trained || start), of an answer: mean over answers that the trained policy sampled of
    their log-probability under it less that under the start."""
    kl_nats_per_token: Interval
    """The same over the mean number of tokens of an answer: a ratio of means."""
    num_prompts: int
    num_answers: int
    num_cut_off: int
    """Of these, answers that were cut off by length: as far as they go they count."""
    truth_logp: Metric | None
    """Log-probability of a truth as the policy would write it, nats, of start and trained; None
    where none could be written."""


class DriftReport(Artifact):
    """part-*.parquet: the answers and truths that were asked about; start/ and trained/ have what
    either policy says of them (schemas.arrow.REFERENCES)."""

    kind: Literal["drift"] = "drift"
    policy_digest: Digest
    start_digest: Digest
    tasks: dict[TaskName, TaskDrift]


Opponent = Literal["start", "champion"]
"""What a trained policy is compared with: the policy it started from, or the one promoted then."""


class Gate(Frozen):
    """One condition of promotion and what was measured."""

    task: TaskName
    """Or "benchmark NAME"."""
    metric: str
    rule: str
    measured: float | None
    """None: no validation prompts of this task, so that this gate decides nothing."""
    passed: bool
    against: Opponent = "start"


class Promotion(Artifact):
    """The decision, and the pointer it moved if every gate passed."""

    kind: Literal["promotion"] = "promotion"
    promoted: bool
    gates: list[Gate]
    policy_digest: Digest
    held: str | None = None
    """What kept the pointer where it is whatever the gates say, in words; None: nothing."""
    champion_digest: Digest | None = None
    """The policy that was promoted at the decision; None if that was the start policy or none."""
    champion_metrics: dict[TaskName, dict[str, Metric]] = {}
    """Test split: the champion (as base) against the trained policy; {} without a comparison."""
    champion_validation: dict[TaskName, dict[str, Metric]] = {}
    """The same on the validation split, where the gates look."""


AnyArtifact = Annotated[
    SampleSet
    | CandidateSet
    | ScoredSet
    | PreferenceSet
    | ReferenceSet
    | ContrastSet
    | DegradedSet
    | Checkpoint
    | BenchmarkScores
    | EvalReport
    | DriftReport
    | Promotion,
    Field(discriminator="kind"),
]
