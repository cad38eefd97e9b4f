"""Policies that are adapters on a base: the same as merged weights, round after round."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, LlavaConfig

from perpo_core.doctor.policy import check_policy_folder
from perpo_core.perception.judging import describe_judging
from perpo_core.policy.adapters import load_rank
from perpo_core.policy.loading import load_model, save_merged
from perpo_core.policy.reading import find_reading
from perpo_core.policy.resolve import locate_policy
from perpo_core.policy.stamps import refer_to
from perpo_core.stages import collect, train
from perpo_core.stages.stage import find_or_make
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.model import choose_trained
from perpo_core.stages.train.outcome import leaves_adapter
from perpo_core.stages.train.references import compute_rows
from perpo_core.stages.train.saving import save_on_base, save_policy
from perpo_core.stages.train.settings import list_unread
from perpo_core.store.base import load_base_digest
from perpo_core.store.keys import compute_digest, compute_key, hash_folder
from perpo_core.store.provenance import as_parents
from schemas.run import PolicyRef
from schemas.train_config import TrainConfig
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.train.small_lists import commit_lists
from tests.perpo_core.stages.train.training import (
    LORA,
    NUM_LISTS,
    SOURCE,
    TRAIN,
    build_trainer,
    read_points,
)

pytestmark = pytest.mark.usefixtures("training_events")

DOCS = Path(__file__).parents[4] / "docs" / "models.md"
ROUNDS = 3
LOGPS = "logps.pt"
PARITY_NATS = 1e-4  # of a log-probability, float32


def on(setting: Any, policy: PolicyRef) -> Any:
    """The same lists, trained on from another policy."""
    context, samples, preferences = setting
    return replace(context, policy=policy), samples, preferences


def locate(context: Any, folder: Path, base: PolicyRef) -> PolicyRef:
    return locate_policy(folder, context.config.policy, context.store, known=[base])


@pytest.fixture(scope="module")
def chain(trainable, policy, tmp_path_factory) -> list[tuple[PolicyRef, PolicyRef]]:
    """Of each round, what it trained, as an adapter on the base and as merged weights."""
    patch = pytest.MonkeyPatch()
    torch.set_num_threads(1)
    from perpo_core.stages.train import child, history, references

    for module in (child, history, references):
        patch.setattr(module, "emit", lambda event, **fields: None)
    root, start, rounds = tmp_path_factory.mktemp("chain"), policy, []
    for number in range(ROUNDS):
        folder = root / str(number)
        changes = LORA | {"lora_rank": 4 + number, "seed": number, "learning_rate": 3e-3}
        trainer = build_trainer(on(trainable, start), folder, **changes)
        trainer.train()
        torch.save(measure(trainer.list_policy, trainer.train_dataset), folder / LOGPS)
        save_on_base(trainer.list_policy, start, "float32", folder / "adapted")
        save_policy(trainer.list_policy, start, "float32", folder / "merged", folder / "new")
        start = locate(trainable[0], folder / "adapted", policy)
        rounds.append((start, refer_to(folder / "merged")))
    patch.undo()
    return rounds


def compute_logps(policy: PolicyRef, lists: Any) -> torch.Tensor:
    return measure(ListPolicy(load_model(policy, "float32")[0]), lists)


def measure(model: ListPolicy, lists: Any) -> torch.Tensor:
    """Log-probabilities of the answers of every list, nats."""
    rows = [compute_rows(model, [lists[i]], pad_id=0)[0] for i in range(len(lists))]
    return torch.tensor([logp for row in rows for logp in row])


@pytest.mark.slow
def test_a_chain_answers_as_its_merged_weights_do(trainable, chain, policy, tmp_path):
    """And as the trainer that made it did, after one, two and three rounds."""
    lists = build_trainer(trainable, tmp_path).train_dataset
    seen = [compute_logps(policy, lists)]
    for adapted, merged in chain:
        seen.append(compute_logps(adapted, lists))
        trained = torch.load(merged.folder.parent / LOGPS, weights_only=True)
        for other in (compute_logps(merged, lists), trained):
            difference = (seen[-1] - other).abs().max()
            assert difference < PARITY_NATS, difference
    for before, after in pairwise(seen):
        assert (after - before).abs().max() > 0.01, "a round that changed nothing shows nothing"


def test_a_chain_is_one_adapter_of_the_summed_rank_on_the_first_base(chain, policy):
    assert [load_rank(adapted) for adapted, _ in chain] == [4, 4 + 5, 4 + 5 + 6]
    for adapted, merged in chain:
        assert adapted.base == policy
        assert load_base_digest(adapted.folder) == policy.digest
        names = {path.relative_to(adapted.folder).as_posix() for path in adapted.folder.rglob("*")}
        others = {path.name for path in policy.folder.iterdir()} - {"model.safetensors"}
        assert names == others | {
            "policy.json", "adapter", "adapter/adapter_config.json",
            "adapter/adapter_model.safetensors",
        }  # fmt: skip
        assert load_base_digest(merged.folder) is None


def test_the_digest_is_of_content_alone(chain, policy, tmp_path):
    """Of the base's and the adapter's, wherever either lies."""
    adapted = chain[0][0]
    shutil.copytree(adapted.folder, tmp_path / "moved")
    assert refer_to(tmp_path / "moved").digest == adapted.digest
    settings = json.loads((adapted.folder / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] is None
    for file in adapted.folder.rglob("*.json"):
        assert str(policy.folder.parent) not in file.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_next_round_starts_as_what_the_last_one_left(trainable, chain, tmp_path, dtype):
    """ln 2 to the last bit, the new adapter alone is trained, and the loss falls."""
    adapted = chain[1][0]
    trainer = build_trainer(on(trainable, adapted), tmp_path, dtype=dtype, epochs=6, **LORA)
    trained = {n for n, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert trained and all(".lora_" in name and ".default." in name for name in trained)
    frozen = {n: w.clone() for n, w in trainer.model.named_parameters() if ".start." in n}
    trainer.train()
    first, *_ = points = read_points(trainer)
    assert first["loss"] == pytest.approx(0.6931471805599453, abs=1e-6)
    assert min(point["loss"] for point in points[-4:]) < 0.66
    now = dict(trainer.model.named_parameters())
    assert frozen and all(torch.equal(now[name], weight) for name, weight in frozen.items())
    save_on_base(trainer.list_policy, adapted, dtype, tmp_path / "model")
    saved = load_file(tmp_path / "model" / "adapter" / "adapter_model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {getattr(torch, dtype)}


@pytest.mark.parametrize(
    "changes",
    [{"adapter": "full"}, LORA | {"projector_learning_rate": 5e-6}],
    ids=["full", "parts"],
)
def test_whole_weights_can_be_trained_on_from_an_adapter(trainable, chain, tmp_path, changes):
    adapted, merged = chain[1]
    context = trainable[0]
    assert not leaves_adapter(TrainConfig(**(TRAIN | changes)), adapted)
    trainer = build_trainer(on(trainable, adapted), tmp_path, **changes)
    lists = trainer.train_dataset
    rows = [compute_rows(trainer.list_policy, [lists[i]], 0)[0] for i in range(len(lists))]
    start = torch.tensor([logp for row in rows for logp in row])
    assert (start - compute_logps(merged, lists)).abs().max() < PARITY_NATS
    trainer.train()
    folder = tmp_path / "model"
    rows = [compute_rows(trainer.list_policy, [lists[i]], 0)[0] for i in range(len(lists))]
    save_policy(trainer.list_policy, adapted, "float32", folder, tmp_path / "new")
    now = compute_logps(locate(context, folder, adapted), lists)
    trained = torch.tensor([logp for row in rows for logp in row])
    assert (now - trained).abs().max() < PARITY_NATS
    assert (now - start).abs().max() > 1e-4
    assert load_base_digest(folder) is None


def test_a_policy_that_is_exported_is_its_merged_weights(chain, tmp_path):
    adapted, merged = chain[2]
    save_merged(adapted, "float32", tmp_path)
    exported, expected = (load_file(f / "model.safetensors") for f in (tmp_path, merged.folder))
    assert exported.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(exported[name], weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize("damage", ["none", "cut", "config"])
def test_the_doctor_looks_at_the_adapter_in_place_of_weights(chain, tmp_path, damage):
    shutil.copytree(chain[0][0].folder, tmp_path / "policy")
    adapter = tmp_path / "policy" / "adapter"
    weights = adapter / "adapter_model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "config":
        (adapter / "adapter_config.json").unlink()
    [finding] = check_policy_folder(tmp_path / "policy")
    assert finding.level == ("ok" if damage == "none" else "error")
    assert damage == "none" or "its adapter is incomplete" in finding.what


def test_an_adapter_of_another_model_is_refused(chain, tmp_path):
    adapted = chain[0][0]
    shutil.copytree(adapted.folder, tmp_path / "policy")
    file = tmp_path / "policy" / "adapter" / "adapter_model.safetensors"
    saved = load_file(file)
    name = next(iter(saved))
    save_file({name.replace("layers.0", "layers.9"): saved.pop(name), **saved}, file)
    other = adapted.model_copy(update={"folder": tmp_path / "policy"})
    with pytest.raises(ValueError, match=r"adapter is no adapter of the model it goes onto \("):
        load_model(other, "float32")


# When it is one


def test_what_a_training_leaves(chain, policy, tmp_path):
    adapted = chain[1][0]  # of rank 9
    lora = TrainConfig(**(TRAIN | LORA))
    assert leaves_adapter(lora, policy) and leaves_adapter(lora, adapted)
    for changes, start in (
        ({"save": "merged"}, policy),
        ({"adapter": "full"}, policy),
        ({"projector_learning_rate": 1e-5}, policy),
        ({"vision_learning_rate": 1e-5}, policy),
        ({"max_chain_rank": 7}, policy),
        ({"max_chain_rank": 16}, adapted),
    ):
        assert not leaves_adapter(lora.model_copy(update=changes), start), changes
    assert leaves_adapter(lora.model_copy(update={"max_chain_rank": 17}), adapted)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "llava_onevision"}')
    assert not leaves_adapter(lora, refer_to(other))


def test_keys_change_where_the_artifact_does(trainable, policy):
    """Whole weights are what a key speaks of where it names no kind."""
    context, samples, preferences = trainable

    def key(**changes: Any) -> str:
        config = context.config.train.model_copy(update=changes)
        whole = context.config.model_copy(update={"train": config})
        return train.compute_key(whole, policy, samples, preferences)

    def key_of_whole(**changes: Any) -> str:
        config = context.config.train.model_copy(update=changes)
        left_out = train.NOT_IN_KEY | list_unread(config)
        settings = {
            "train": config.model_dump(mode="json", exclude=left_out),
            "judging": describe_judging(context.config, find_reading(policy)),
            "dtype": "float32",
            "max_tokens": context.config.generate.max_tokens,
            "policy_digest": policy.digest,
            "base_digest": None,
            "extra_reference_digests": [],
        }
        return compute_key("train", train.VERSION, as_parents(samples, preferences), settings)

    for changes in ({}, {"adapter": "lora", "projector_learning_rate": 1e-5}):
        assert key(**changes) == key_of_whole(**changes)
        assert key(**changes, save="merged", max_chain_rank=3) == key_of_whole(**changes)
    merged = {"adapter": "lora", "save": "merged"}
    assert key(**merged) == key_of_whole(adapter="lora") != key(adapter="lora")
    assert key(adapter="lora", max_chain_rank=200) == key(adapter="lora")


def test_the_stage_commits_the_adapter_and_where_its_base_lies(tmp_path, policy, processor):
    source = SOURCE | {"selection": {}}  # so that the last weights are the result
    context = build_context(tmp_path, source=source, train=TRAIN | LORA)
    context = replace(context, policy=policy)
    samples = find_or_make(context, collect).artifact
    preferences = commit_lists(context, samples, processor.tokenizer, NUM_LISTS)
    checkpoint = find_or_make(context, train, samples, preferences).artifact
    folder = context.store.path(checkpoint, "model")
    assert checkpoint.chosen_step > 0
    assert checkpoint.policy_digest == hash_folder(folder) != policy.digest
    paths = {file.path for file in checkpoint.files}
    assert {"base.json", "model/policy.json", "model/adapter/adapter_model.safetensors"} <= paths
    assert not paths & {"model/model.safetensors", "adapter/adapter_model.safetensors"}
    # Where a base lies is no part of what came out.
    assert checkpoint.digest == compute_digest(f for f in checkpoint.files if f.path != "base.json")
    assert json.loads((folder.parent / "base.json").read_text()) == {"folder": str(policy.folder)}
    assert locate_policy(folder, context.config.policy, context.store).base == policy


def test_a_night_at_7b_writes_what_the_docs_say():
    """By the weights of a LLaVA-1.5-7B without content."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(LlavaConfig(), dtype=torch.bfloat16)
        bytes_whole = 2 * sum(weight.numel() for weight in model.parameters())
        wrapped = choose_trained(model, TrainConfig(lora_rank=16))
    trained = [weight for weight in wrapped.parameters() if weight.requires_grad]
    bytes_a_rank = 2 * sum(weight.numel() for weight in trained) / 16
    ranks = (16, 128, 2 * 128, 4 * 128)
    sizes_gb = [bytes_whole / 1e9, *(rank * bytes_a_rank / 1e9 for rank in ranks)]
    row = next(line for line in DOCS.read_text().splitlines() if line.startswith("| a promotion"))
    told = [float(cell) for cell in row.strip("| ").split(" | ")[1:]]
    assert told == [round(sizes_gb[0], 1), *(round(size, 2) for size in sizes_gb[1:])]
    assert TrainConfig().max_chain_rank == ranks[-1]
