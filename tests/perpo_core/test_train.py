"""Training: the numbers, the order of things, resuming, and which weights are kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModelForImageTextToText,
    LlavaConfig,
    Qwen2VLConfig,
    TrainerCallback,
    TrainingArguments,
)

from perpo_core import collect, train
from perpo_core.generate.greedy import generate_greedily
from perpo_core.generate.prompts import iter_prompts
from perpo_core.keys import hash_file, hash_folder
from perpo_core.objectives import ListBatch
from perpo_core.objectives.metrics import compute_list_metrics
from perpo_core.process import ChildFailed
from perpo_core.stage import find_or_make
from perpo_core.train import child
from perpo_core.train.checkpoints import find_checkpoint
from perpo_core.train.data import RankedLists, encode_prompt
from perpo_core.train.model import choose_trained, find_language_linears, load_policy, save_policy
from perpo_core.train.trainer import ListTrainer
from perpo_core.train.validation import ValidationReward, _share_out
from schemas.artifact import ValidationPoint
from schemas.config import TrainConfig
from tests.perpo_core.processes import wait_for_children
from tests.perpo_core.small_lists import ScriptedValidation, commit_lists
from tests.perpo_core.small_store import build_context

SOURCE = {
    "kind": "digits",
    "train": {"grounding": 7},
    "validation": {"grounding": 3, "ocr": 2, "counting": 1},
    "test": {},
}
TRAIN: dict[str, Any] = {
    "adapter": "full", "learning_rate": 1e-4, "schedule": "constant", "batch_lists": 4,
    "micro_batch_lists": 2, "epochs": 2, "eval_every_steps": 1, "threads": 1,
}  # fmt: skip
LORA: dict[str, Any] = {"adapter": "lora", "lora_rank": 8, "lora_alpha": 16, "learning_rate": 1e-3}
NUM_LISTS, NUM_STEPS = 7, 4  # two epochs of a batch of 4 and one of 3


@pytest.fixture(scope="module")
def setting(tmp_path_factory, policy, processor):
    """(context, samples, preferences) in a store."""
    context = build_context(tmp_path_factory.mktemp("train"), source=SOURCE, train=TRAIN)
    context = replace(context, policy=policy)
    samples = find_or_make(context, collect).artifact
    return context, samples, commit_lists(context, samples, processor.tokenizer, NUM_LISTS)


@pytest.fixture(autouse=True)
def events(monkeypatch) -> list[dict[str, Any]]:
    """What the training child would tell its parent; threads as in the child."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(child, "emit", lambda event, **fields: told.append({event: fields}))
    torch.set_num_threads(1)
    return told


def build_trainer(
    setting: Any,
    work: Path,
    validation: ScriptedValidation | None = None,
    resumed: bool = False,
    callbacks: tuple[TrainerCallback, ...] = (),
    **changes: Any,
) -> Any:
    """As the child's main builds it."""
    context, _, preferences = setting
    config = TrainConfig(**(TRAIN | changes))
    torch.manual_seed(config.seed)
    model, processor = load_policy(context.policy.folder, "float32")
    lists = RankedLists(context.store.path(preferences, "preferences.parquet"), processor)
    lists.ref_logps_PG = child._compute_reference(model, lists, processor, config)
    trainer = child.build_trainer(
        choose_trained(model, config), lists, validation or ScriptedValidation(),  # type: ignore[arg-type]
        processor, config, work, not resumed,
    )  # fmt: skip
    for callback in callbacks:
        trainer.add_callback(callback)
    return trainer


def copy_weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def read_points(trainer: ListTrainer) -> list[dict[str, float]]:
    return [point.model_dump() for point in child.read_history(trainer.state.log_history)[0]]


# The loss


@pytest.mark.parametrize("changes", [{}, LORA, {"beta": 0.5, "gamma": 0.0}])
def test_the_first_loss_is_ln_2(setting, tmp_path, changes):
    trainer = build_trainer(setting, tmp_path, epochs=6, **changes)
    trainer.train()
    first, *_ = points = read_points(trainer)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["best_logp_change"] == pytest.approx(0, abs=1e-5)
    assert min(point["loss"] for point in points[-4:]) < 0.6  # and it falls


def test_micro_batches_do_not_show(setting, tmp_path):
    """4 x 1, 2 x 2 and 1 x 4 lists a step, the last step of an epoch one of 3 lists."""
    runs = []
    for micro in (4, 2, 1):
        trainer = build_trainer(setting, tmp_path / str(micro), micro_batch_lists=micro)
        trainer.train()
        weights = torch.cat([w.flatten() for w in copy_weights(trainer.model).values()]).double()
        runs.append((read_points(trainer), weights))
    points, weights = runs[0]
    assert [point["step"] for point in points] == [1, 2, 3, 4]
    for other_points, other_weights in runs[1:]:
        # Before the first update every log-ratio is 0 up to rounding, and its sign means nothing.
        points[0]["reward_accuracy"] = other_points[0]["reward_accuracy"] = 0.5
        for point, other in zip(points, other_points, strict=True):
            assert other == pytest.approx(point, rel=2e-6, abs=1e-5)
        assert (weights - other_weights).norm() / weights.norm() < 1e-6


def test_rewards_stay_with_their_lists_when_shuffled(setting, tmp_path):
    """The released PerPO code gives every list the rewards of one and the same record."""
    context, _, preferences = setting
    table = pq.read_table(context.store.path(preferences, "preferences.parquet")).to_pylist()
    expected = {row["sample_id"]: row for row in table}
    trainer = build_trainer(setting, tmp_path, micro_batch_lists=2)
    for i, row in enumerate(table):
        ranked = trainer.train_dataset[i]
        assert ranked.list_id == row["sample_id"]
        assert list(ranked.rewards_G) == [answer["reward"] for answer in row["responses"]]
        assert [list(branch.ids) for branch in ranked.packable.branches] == [
            answer["token_ids"] for answer in row["responses"]
        ]
    seen = []
    for batch in trainer.get_train_dataloader():
        rewards_PG, mask_PG = batch["batch"].rewards_PG, batch["batch"].packed.mask_BG
        lengths_PG = batch["batch"].num_tokens_PG
        for p, list_id in enumerate(batch["list_ids"]):
            answers = expected[list_id]["responses"]
            assert rewards_PG[p][mask_PG[p]].tolist() == [a["reward"] for a in answers]
            assert lengths_PG[p][mask_PG[p]].tolist() == [len(a["token_ids"]) for a in answers]
            seen.append(list_id)
    assert sorted(seen) == sorted(expected)
    assert seen != list(expected)


def test_a_loss_that_is_not_finite_is_refused_with_its_list(setting, tmp_path):
    trainer = build_trainer(setting, tmp_path, batch_lists=1, micro_batch_lists=1)
    lists = trainer.train_dataset
    lists.ref_logps_PG[3] = [math.nan] * len(lists.ref_logps_PG[3])
    with pytest.raises(ValueError, match=lists[3].list_id):
        trainer.train()


def test_list_metrics_by_hand():
    """Log-ratios (0.2, -0.1, 0.4) for rewards (0.9, 0.5, 0.1), and two answers tied at (0, 0).

    beta 0.1: margin 0.1 * (0.2 - 0.4) = -0.02. Pairs (0,1) right, (0,2) and (1,2) wrong: 1/3. In
    the second list the log-ratios tie: the margin is 0 and its pair counts half.
    """
    batch = ListBatch(
        logps_PG=torch.tensor([[-1.8, -3.1, -0.6], [-1.0, -2.0, 0.0]]),
        ref_logps_PG=torch.tensor([[-2.0, -3.0, -1.0], [-1.0, -2.0, 0.0]]),
        rewards_PG=torch.tensor([[0.9, 0.5, 0.1], [0.2, 0.7, 0.0]], dtype=torch.float64),
        mask_PG=torch.tensor([[True, True, True], [True, True, False]]),
        num_tokens_PG=torch.ones(2, 3, dtype=torch.long),
    )
    metrics = {name: float(value) for name, value in compute_list_metrics(batch, 0.1).items()}
    assert metrics == pytest.approx(
        {
            "reward_margin": -0.02,
            "reward_accuracy": 1 / 3 + 1 / 2,
            "best_logp_change": 0.2,
            "worst_logp_change": 0.4,
        },
        abs=1e-6,
    )


# What is trained


def test_adapters_sit_on_every_language_linear_and_on_nothing_else(policy):
    model, _ = load_policy(policy.folder, "float32")
    names = find_language_linears(model)
    assert len(names) == 7 * model.config.text_config.num_hidden_layers
    assert all(name.startswith("model.text_model.layers.") for name in names)
    wrapped = choose_trained(model, TrainConfig(**(TRAIN | LORA)))
    trained = [name for name, weight in wrapped.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * len(names)
    assert all(".text_model.layers." in name and ".lora_" in name for name in trained)
    for part in ("vision_model", "connector", "lm_head", "embed_tokens"):
        assert not any(part in name for name in trained)


@pytest.mark.parametrize("train_vision", [False, True])
def test_full_training_leaves_the_vision_tower_alone_unless_told(policy, train_vision):
    model, _ = load_policy(policy.folder, "float32")
    config = TrainConfig(adapter="full", train_vision=train_vision)
    for name, weight in choose_trained(model, config).named_parameters():
        assert weight.requires_grad == (train_vision or "vision_model" not in name), name


def test_a_merged_folder_gives_the_adapters_logits(policy, tmp_path):
    model, processor = load_policy(policy.folder, "float32")
    wrapped = choose_trained(model, TrainConfig(**(TRAIN | LORA)))
    start = compute_logits(wrapped, processor)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    adapted = compute_logits(wrapped, processor)
    assert (adapted - start).abs().max() > 0.1
    save_policy(wrapped, policy.folder, tmp_path / "model")
    merged, merged_processor = load_policy(tmp_path / "model", "float32")
    assert (compute_logits(merged, merged_processor) - adapted).abs().max() < 1e-3
    assert merged.lm_head.weight is merged.get_input_embeddings().weight
    names = {path.name for path in policy.folder.iterdir()}
    assert {path.name for path in (tmp_path / "model").iterdir()} == names
    for name in names - {"model.safetensors", "config.json", "generation_config.json"}:
        assert hash_file(tmp_path / "model" / name) == hash_file(policy.folder / name)


def compute_logits(model: Any, processor: Any) -> torch.Tensor:
    ids = processor.tokenizer("User:Where is the 7?\nAssistant:", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model.eval()(input_ids=ids).logits
    assert isinstance(logits, torch.Tensor)
    return logits


# Which weights are kept


@pytest.mark.parametrize("changes", [{}, LORA])
def test_the_best_checkpoint_comes_back(setting, tmp_path, changes):
    """Bit for bit, also when it is neither the last nor the one saved last."""
    measured: list[dict[str, torch.Tensor]] = []
    validation = ScriptedValidation(
        [0.1, 0.2, 0.9, 0.9, 0.3], look=lambda model: measured.append(copy_weights(model))
    )
    trainer = build_trainer(setting, tmp_path, validation, **changes)
    trainer.train()
    assert len(measured) == 1 + NUM_STEPS
    assert not same_weights(measured[2], measured[4])
    assert same_weights(copy_weights(trainer.model), measured[2])
    _, points = child.read_history(trainer.state.log_history)
    assert [(point.step, point.mean_reward) for point in points] == [
        (0, 0.1), (1, 0.2), (2, 0.9), (3, 0.9), (4, 0.3),
    ]  # fmt: skip
    assert child.choose_step(points) == trainer.state.best_global_step == 2
    if not changes:
        assert trainer.model.lm_head.weight is trainer.model.get_input_embeddings().weight


def test_a_last_step_off_the_beat_is_measured_too(setting, tmp_path):
    trainer = build_trainer(
        setting, tmp_path, ScriptedValidation([0.1, 0.2, 0.3]), eval_every_steps=3
    )
    trainer.train()
    _, points = child.read_history(trainer.state.log_history)
    assert [point.step for point in points] == [0, 3, 4]
    assert trainer.state.best_global_step == 4


def tiny_family(name: str) -> Any:
    text = {
        "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    if name == "llava":
        vision = {
            "model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 8,
        }  # fmt: skip
        text_config = {"model_type": "llama", "pad_token_id": 0, **text}
        return LlavaConfig(text_config=text_config, vision_config=vision, image_token_index=60)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    return Qwen2VLConfig(
        text_config={**text, "rope_parameters": rope},
        vision_config={"depth": 1, "hidden_size": 16, "embed_dim": 16, "num_heads": 2},
        image_token_id=60,
        video_token_id=61,
    )


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_full_checkpoints_load_whatever_names_the_family_saves_under(tmp_path, family):
    model = AutoModelForImageTextToText.from_config(tiny_family(family))
    trainer = ListTrainer(
        model=model,
        args=TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True),
        list_config=TrainConfig(),
        validation=None,
    )
    saved = copy_weights(model)
    trainer.save_model(str(tmp_path / "checkpoint-5"))
    for load in (
        lambda: trainer._load_from_checkpoint(str(tmp_path / "checkpoint-5")),
        trainer._load_best_model,
    ):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(1)
        trainer.state.best_global_step = 5
        load()
        assert same_weights(copy_weights(model), saved)


def test_a_missing_best_checkpoint_is_said(setting, tmp_path):
    trainer = build_trainer(setting, tmp_path, **LORA)
    trainer.state.best_global_step = 5
    with pytest.raises(ValueError, match="checkpoint-5 is missing"):
        trainer._load_best_model()


@pytest.mark.parametrize(
    ("rewards", "step"),
    [
        ([0.5, 0.4, 0.3], 0),  # nothing beats the start
        ([0.5, 0.5, 0.5], 0),  # nor does an equal
        ([0.5, 0.6, 0.6], 10),  # the earliest of equals
        ([0.5, 0.6, 0.7], 20),
    ],
)
def test_the_step_that_is_chosen(rewards, step):
    points = [
        ValidationPoint(step=10 * number, mean_reward=reward, per_task={})
        for number, reward in enumerate(rewards)
    ]
    assert child.choose_step(points) == step


# Resuming


class Interrupted(Exception):
    """Stands for a kill."""


class InterruptAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self._step:
            raise Interrupted


def read_some_weight(model: Any) -> float:
    """A validation reading that depends on every bit of the weights."""
    total = sum(weight.double().abs().sum().item() for weight in model.parameters())
    return math.modf(1000 * total)[0]


@pytest.mark.parametrize("changes", [{}, LORA, {"micro_batch_lists": 1, "schedule": "cosine"}])
@pytest.mark.parametrize("killed_at", [2, 4])  # with 1 and 3 steps saved, within an epoch
def test_a_resumed_run_is_the_straight_run(setting, tmp_path, changes, killed_at):
    straight = build_trainer(
        setting, tmp_path / "straight", ScriptedValidation(read_some_weight), **changes
    )
    straight.train()

    def build(resumed: bool, *callbacks: TrainerCallback) -> ListTrainer:
        validation = ScriptedValidation(read_some_weight)
        return build_trainer(
            setting, tmp_path / "killed", validation, resumed, callbacks, **changes
        )

    with pytest.raises(Interrupted):
        build(False, InterruptAt(killed_at)).train()
    checkpoint = find_checkpoint(tmp_path / "killed")
    assert checkpoint is not None and checkpoint.endswith(f"checkpoint-{killed_at - 1}")
    again = build(True)
    again.train(resume_from_checkpoint=checkpoint)
    assert same_weights(copy_weights(again.model), copy_weights(straight.model))
    ours, theirs = (child.read_history(t.state.log_history) for t in (again, straight))
    assert ours == theirs
    assert len(ours[0]) == NUM_STEPS and len(ours[1]) == 1 + NUM_STEPS


def test_patience_goes_on_where_it_was(setting, tmp_path):
    """Best at step 1 and patience 2: step 3 is the last, killed at it or not."""
    settings: dict[str, Any] = {"patience": 2, "epochs": 4}
    straight = build_trainer(
        setting, tmp_path / "a", ScriptedValidation([0.1, 0.5, 0.4, 0.3, 0.2, 0.1]), **settings
    )
    straight.train()
    assert straight.state.global_step == 3
    validation = ScriptedValidation([0.1, 0.5, 0.4, 0.3, 0.2, 0.1])
    killed = build_trainer(
        setting, tmp_path / "b", validation, callbacks=(InterruptAt(3),), **settings
    )
    with pytest.raises(Interrupted):
        killed.train()
    again = build_trainer(setting, tmp_path / "b", validation, resumed=True, **settings)
    again.train(resume_from_checkpoint=find_checkpoint(tmp_path / "b"))
    assert again.state.global_step == 3
    assert same_weights(copy_weights(again.model), copy_weights(straight.model))


@pytest.mark.parametrize("left", [None, "", '{"epoch": 1.0, "log_history": [{"step": 1}'])
def test_a_checkpoint_that_was_cut_short_is_passed_over(tmp_path, left):
    for step in (2, 4, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        if step < 10:
            (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        elif left is not None:
            (folder / "trainer_state.json").write_text(left)
    assert find_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert not (tmp_path / "checkpoint-10").exists()


def test_without_a_whole_checkpoint_training_starts_anew(tmp_path):
    assert find_checkpoint(tmp_path / "work") is None
    (tmp_path / "checkpoint-1").mkdir()
    assert find_checkpoint(tmp_path) is None


# Validation


@given(sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4), total=st.integers(1, 30))
def test_validation_prompts_are_shared_out_evenly(sizes, total):
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    groups = [list(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)]
    picked = _share_out(groups, total)
    assert picked == sorted(set(picked))
    assert len(picked) == min(total, sum(sizes))
    shares = [[i for i in picked if i in group] for group in groups]
    for share, group in zip(shares, groups, strict=True):
        assert share == group[: len(share)]
        # A group that gets less than another by more than one has no more to give.
        assert len(share) == len(group) or len(share) >= max(map(len, shares)) - 1


def test_validation_answers_are_those_of_single_prompts(setting, processor):
    context, samples, _ = setting
    model, _ = load_policy(context.policy.folder, "float32")
    samples_file = context.store.path(samples, "samples.parquet")
    validation = ValidationReward(samples_file, processor, context.config, context.policy.folder)
    assert len(validation) == 6
    prompts = [encode_prompt(processor, p) for p in iter_prompts(samples_file, ["validation"])]

    def answer(some: list[Any]) -> list[str]:
        return generate_greedily(model.eval(), processor.tokenizer, some, 10, [0, 1, 2, 3])

    texts = answer(prompts)
    assert texts == [answer([prompt])[0] for prompt in prompts]
    assert len(set(texts)) > 1


def test_validation_is_the_mean_of_the_tasks_and_leaves_the_mode(setting, processor, monkeypatch):
    context, samples, _ = setting
    model, _ = load_policy(context.policy.folder, "float32")
    validation = ValidationReward(
        context.store.path(samples, "samples.parquet"), processor, context.config,
        context.policy.folder,
    )  # fmt: skip
    answers = {"grounding": "[0.0, 0.0, 1.0, 1.0]", "ocr": "", "counting": ""}
    texts = [answers[sample.task] for sample in validation._samples]
    texts[[s.task for s in validation._samples].index("counting")] = str(
        next(s for s in validation._samples if s.task == "counting").target["count"]
    )
    monkeypatch.setattr("perpo_core.train.validation.generate_greedily", lambda *args: texts)
    boxes: list[Any] = [s.target["box"] for s in validation._samples if s.task == "grounding"]
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]  # IoU with the whole image
    reading = validation.measure(model.train())
    assert model.training
    expected = {"counting": 1.0, "grounding": sum(areas) / 3, "ocr": 0.0}
    assert reading.per_task == pytest.approx(expected)
    assert reading.mean_reward == pytest.approx(sum(expected.values()) / 3)


# The stage


def test_the_stage_keeps_the_start_when_nothing_beats_it(setting):
    """Steps too small to change an answer: of equals, step 0 is the earliest."""
    context, samples, preferences = setting
    slow = context.config.train.model_copy(update={"learning_rate": 1e-12})
    context = replace(context, config=context.config.model_copy(update={"train": slow}))
    messages: list[str] = []
    done: list[tuple[float, float, str]] = []
    context = replace(context, log=messages.append, progress=lambda *args: done.append(args))
    checkpoint = find_or_make(context, train, samples, preferences).artifact
    folder = context.store.path(checkpoint, "model")
    assert checkpoint.chosen_step == 0
    assert any("the start is kept" in message for message in messages)
    start, _ = load_policy(context.policy.folder, "float32")
    kept, _ = load_policy(folder, "float32")
    assert same_weights(copy_weights(kept), copy_weights(start))
    assert checkpoint.policy_digest == hash_folder(folder)
    assert checkpoint.base_policy_digest == context.policy.digest
    assert [point.step for point in checkpoint.history] == [1, 2, 3, 4]
    assert checkpoint.history[0].loss == pytest.approx(math.log(2), abs=1e-6)
    assert [point.step for point in checkpoint.validation] == [0, 1, 2, 3, 4]
    assert [args for args in done if args[2] == "steps"] == [(n, 4, "steps") for n in (1, 2, 3, 4)]
    assert not (folder.parent / "work").exists()
    assert find_or_make(context, train, samples, preferences).reused


@pytest.mark.slow
def test_a_killed_stage_ends_as_a_straight_one(tmp_path, policy, processor):
    """SIGKILL of the training process after its first checkpoints; then the same command again."""

    def run(root: Path, progress: Callable[..., None]) -> Any:
        source = SOURCE | {"validation": {}}  # so that the last weights are the result
        context = build_context(root, source=source, train=TRAIN | LORA)
        context = replace(context, policy=policy, progress=progress)
        samples = find_or_make(context, collect).artifact
        preferences = commit_lists(context, samples, processor.tokenizer, NUM_LISTS)
        return find_or_make(context, train, samples, preferences).artifact

    def kill(done: float, total: float, unit: str) -> None:
        if (done, unit) == (3, "steps"):
            wait_for_children(train.CHILD, 1)[0].kill()

    straight = run(tmp_path / "straight", lambda *args: None)
    with pytest.raises(ChildFailed, match="SIGKILL"):
        run(tmp_path / "killed", kill)
    steps: list[float] = []

    def note(done: float, total: float, unit: str) -> None:
        if unit == "steps":
            steps.append(done)

    again = run(tmp_path / "killed", note)
    assert steps and 1 not in steps  # it did not start anew
    assert again.digest == straight.digest
    assert again.history == straight.history
    assert again.chosen_step == NUM_STEPS


def test_the_key_covers_what_the_result_depends_on(setting):
    context, samples, preferences = setting

    def key_of(**sections: Any) -> str:
        sections = {"source": SOURCE, "train": TRAIN} | sections
        config = build_context(context.store.root, **sections).config
        return train.compute_key(config, context.policy, samples, preferences)

    base = key_of()
    assert key_of(train=TRAIN | {"threads": 2}) == base
    assert key_of(generate={"processes": 7}) == base
    others: list[Any] = [
        {"train": TRAIN | {"beta": 0.2}}, {"train": TRAIN | {"seed": 1}},
        {"policy": {"dtype": "bfloat16"}}, {"policy": {"box_format": "pixels"}},
        {"score": {"counting": "exact_match"}}, {"generate": {"max_tokens": 8}},
    ]  # fmt: skip
    assert len({base, *(key_of(**sections) for sections in others)}) == 1 + len(others)
