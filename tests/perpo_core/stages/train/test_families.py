"""Of every family, packed lists give the log-probabilities, loss and gradients of separate ones.

Each case is several lists of unequal answers in one row, their prompts of different lengths, with
images of different sizes and numbers. The separate sequences are the family's own forward, an
answer at a time, full logits, position ids left to the model.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from perpo_core.doctor import policy as check
from perpo_core.stages.train import attention, child, families, logps
from perpo_core.stages.train.attention_ways import Choice, Heads
from perpo_core.stages.train.data import RankedList, collate_lists
from perpo_core.stages.train.greedy import generate_greedily
from perpo_core.stages.train.list_policy import ListPolicy, compute_list_batch
from perpo_core.stages.train.packing import Branch, PackableList
from perpo_core.stages.train.parts import find_language_linears
from tests.perpo_core.stages.train.flex_on_cpu import flex_on_cpu
from tests.perpo_core.stages.train.separately import assert_same
from tests.perpo_core.tiny_families import FAMILIES, IMAGE, PAD, build_tiny, build_tiny_lists

ANSWERS = [[3, 1, 4], [2], [5, 3, 3, 1, 7]]
REWARDS = [[0.8, 0.1, 0.3], [0.5], [1.0, 0.4, 0.2, 0.9, 0.1]]


@pytest.fixture
def exact(monkeypatch) -> None:
    """Vision towers rotate and normalise in float32 whatever their dtype; let them in float64."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def rank(lists: list[PackableList]) -> list[RankedList]:
    return [
        RankedList(str(number), packable, rewards)
        for number, (packable, rewards) in enumerate(zip(lists, REWARDS, strict=True))
    ]


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", FAMILIES)
def test_packed_equals_separate(name):
    model = build_tiny(name)
    assert families.find_obstacle(model) is None
    assert_same(model, rank(build_tiny_lists(name, model, ANSWERS)), 1e-9)
    seen = [p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters()]
    assert sum(seen) > 0.6 * len(seen)  # LLaVA leaves out its tower's last layer


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_packed_equals_separate_by_flex_attention(name, checkpointing, monkeypatch):
    """As on CUDA, where layers that are computed again in the backward pass meet it too."""
    used = set_way("flex", monkeypatch)
    model = build_tiny(name)
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.train()
    with flex_on_cpu():
        assert_same(model, rank(build_tiny_lists(name, model, ANSWERS)), 1e-9)
    assert used == {ListPolicy(model).heads}


def set_way(way, monkeypatch) -> set[Heads]:
    """Have all attention take a way; the heads that asked come into the set."""
    asked: set[Heads] = set()

    def choose(heads: Heads) -> Choice:
        asked.add(heads)
        return Choice(way)

    monkeypatch.setattr(attention, "choose_way", choose)
    return asked


@pytest.mark.parametrize("name", FAMILIES)
def test_packed_equals_separate_in_float32(name):
    model = build_tiny(name, torch.float32)
    assert_same(model, rank(build_tiny_lists(name, model, ANSWERS)), 1e-4)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", ["smolvlm", "llava_next", "qwen3_vl"])
def test_layers_that_are_computed_again_in_the_backward_pass_see_the_layout(name):
    model = build_tiny(name)
    model.gradient_checkpointing_enable()
    model.train()
    assert_same(model, rank(build_tiny_lists(name, model, ANSWERS)), 1e-9)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", FAMILIES)
def test_adapters_train_packed_as_separate(name):
    base = build_tiny(name)
    lists = rank(build_tiny_lists(name, base, ANSWERS))
    lora = LoraConfig(r=4, target_modules=find_language_linears(base), init_lora_weights=False)
    model = get_peft_model(base, lora).eval()
    assert_same(model, lists, 1e-9)
    assert all((p.grad is not None) == ("lora_" in name) for name, p in model.named_parameters())


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("known", [True, False])
def test_prompts_without_images(name, known, monkeypatch):
    """Among others, and by themselves."""
    model = build_tiny(name)
    if not known:
        monkeypatch.delitem(families.NUMBERINGS, name)
    with_images = build_tiny_lists(name, model, ANSWERS)
    text = PackableList([5, 9, 7], [Branch([11, 12]), Branch([13])])
    lists = rank([with_images[0], text, with_images[2]])
    lists[1] = RankedList("text", text, [0.5, 0.1])
    assert_same(model, lists, 1e-9)
    assert_same(model, lists[1:2], 1e-9)


# Families that cannot share a prefix


def test_every_policy_we_accept_shares_its_prefix():
    assert set(families.NUMBERINGS) == set(FAMILIES) == set(check.FAMILIES)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", FAMILIES)
def test_an_unknown_family_trains_on_separate_sequences(name, monkeypatch):
    model = build_tiny(name)
    lists = rank(build_tiny_lists(name, model, ANSWERS))
    monkeypatch.delitem(families.NUMBERINGS, name)
    monkeypatch.setattr(attention, "WAYS", {})
    assert families.find_obstacle(model) == (
        f"how {name} models number positions is not in perpo_core.stages.train.families"
    )
    assert_same(model, lists, 1e-9)
    logps_PG = compute_list_batch(ListPolicy(model), collate_lists(lists, PAD)).logps_PG
    other_PG = compute_list_batch(ListPolicy(model), collate_lists(lists, 7)).logps_PG
    assert torch.allclose(logps_PG, other_PG, rtol=1e-12)  # padding does not matter


@pytest.mark.usefixtures("exact")
def test_a_sliding_window_is_an_obstacle():
    config = FAMILIES["llava_next"].config()
    config.text_config.sliding_window = 4
    model = build_tiny("llava_next", config=config)
    assert families.find_obstacle(model) == "its attention slides over 4 tokens"
    assert_same(model, rank(build_tiny_lists("llava_next", model, ANSWERS)), 1e-9)


def test_layers_without_attention_and_dropout_are_obstacles():
    model = build_tiny("qwen2_vl")
    text = model.get_decoder().config
    text.attention_dropout = 0.1
    assert families.find_obstacle(model) == (
        "its attention drops out at random (attention_dropout 0.1)"
    )
    text.layer_types = ["full_attention", "linear_attention"]
    assert families.find_obstacle(model) == "it has layers of linear_attention"


def test_a_run_says_how_answers_attend_or_that_they_cannot_share_their_prompt(training_events):
    model = build_tiny("llava")
    child.report_attention(ListPolicy(model))
    model.get_decoder().config.sliding_window = 4
    child.report_attention(ListPolicy(model))
    assert [event["log"]["message"] for event in training_events] == [
        "answers attend to their prompt where it lies (torch's CPU kernels, merged)",
        "answers cannot share their prompt, since its attention slides over 4 tokens; each is "
        "trained as a sequence of its own, image included",
    ]


# The same model in other hands


@pytest.mark.parametrize("name", FAMILIES)
def test_answering_goes_on_as_before(name):
    """Training leaves the attention that generate() uses, masks of padded batches included."""
    model = build_tiny(name)
    lists = build_tiny_lists(name, model, ANSWERS)
    prompts = [(list(packable.prefix_ids), packable.vision) for packable in lists]
    before = answer(model, prompts)
    compute_list_batch(ListPolicy(model), collate_lists(rank(lists), PAD))
    assert model.get_decoder().config._attn_implementation == attention.NAME
    assert answer(model, prompts) == before
    ids = torch.tensor([[5, 6, 7, PAD], [8, 9, 10, 11]])
    padded = model(input_ids=ids, attention_mask=(ids != PAD).int()).logits
    alone = model(input_ids=ids[:1, :3]).logits
    assert torch.allclose(padded[0, :3], alone[0], rtol=1e-4)


def answer(model, prompts):
    """Greedy answers of prompts, each twice, so that images are joined."""
    tokenizer = SimpleNamespace(batch_decode=lambda ids, **_: [str(row.tolist()) for row in ids])
    return generate_greedily(model, tokenizer, [*prompts, *prompts], 4, 512, [IMAGE])


def test_an_attention_that_knows_no_layout_fails(monkeypatch):
    """Rather than showing every token everything."""
    model = build_tiny("llava")
    batch = collate_lists(rank(build_tiny_lists("llava", model, ANSWERS)), PAD)
    monkeypatch.setattr(logps, "use_packed_attention", lambda model: None)
    for implementation in ("sdpa", "eager"):
        model.set_attn_implementation(implementation)
        with pytest.raises(RuntimeError):
            compute_list_batch(ListPolicy(model), batch)
