"""The bootstrap of the built-in policy: its noise, its packed questions, and a tiny run of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.bootstrap import LOG_FILE, bootstrap, noise
from perpo_core.bootstrap.model import END, IMAGE_SIDE, build_model
from perpo_core.bootstrap.questions import (
    ALL_QUESTIONS,
    NUM_COMPARISONS,
    TASK_CYCLE,
    SceneDialogues,
    write_comparisons,
    write_dialogues,
)
from perpo_core.bootstrap.reading import draw_map, write_readings
from perpo_core.bootstrap.start import look_for_digits, show_to_connector
from perpo_core.bootstrap.vision import GRID, NO_DIGIT, DenseScenes
from perpo_core.doctor.policy import check_policy_folder
from perpo_core.perception.boxes import Frame, compute_iou, find_box_problem, parse_box
from perpo_core.policy.encoding import encode_prompt
from perpo_core.policy.loading import load_policy
from perpo_core.policy.prompts import Prompt
from perpo_core.stages.collect.sources.digits import (
    EXTREMES,
    SIDE,
    Question,
    compose_scene,
    encode_png,
)
from perpo_core.store.keys import hash_folder
from schemas.bootstrap import BootstrapConfig, DialogueStage

FRAME = Frame(SIDE, SIDE)
NUM_DRAWS = 4000
BAND = 0.015  # about four standard errors of a share of 5% over NUM_DRAWS


def draw_answers(question: Question, others: Any = ()) -> list[str]:
    rng = np.random.default_rng(0)
    return [noise.write_noisy_answer(question, others, rng, noise.USUAL) for _ in range(NUM_DRAWS)]


# Noise


@given(
    x=st.floats(0, 0.7), y=st.floats(0, 0.7), width=st.floats(0.1, 0.3), height=st.floats(0.1, 0.3),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_a_loose_box_is_a_box_around_the_same_thing(x, y, width, height, seed):
    box = (x, y, x + width, y + height)
    loose = noise.loosen_box(box, np.random.default_rng(seed), noise.USUAL)
    assert find_box_problem(loose) is None
    assert 0.95 * 0.5 * width <= loose[2] - loose[0] <= 1.5 * width * (1 + 1e-9)
    assert compute_iou(box, loose) > 0.2


def test_loose_boxes_scale_and_shift_as_documented():
    rng = np.random.default_rng(0)
    box = (0.4, 0.4, 0.6, 0.6)  # far from the edges, so nothing is clipped
    boxes = np.array([noise.loosen_box(box, rng, noise.USUAL) for _ in range(NUM_DRAWS)])
    scales = (boxes[:, 2:] - boxes[:, :2]) / 0.2
    assert scales.min() >= noise.USUAL.looseness[0] - 1e-9
    assert scales.max() <= noise.USUAL.looseness[1] + 1e-9
    assert scales.mean() == pytest.approx(sum(noise.USUAL.looseness) / 2, abs=0.02)
    shifts = ((boxes[:, 2:] + boxes[:, :2]) / 2 - 0.5) / 0.2
    assert shifts.mean() == pytest.approx(0, abs=0.01)
    assert shifts.std() == pytest.approx(noise.USUAL.shift_sides, rel=0.05)


def test_exact_labels_are_the_truth():
    rng = np.random.default_rng(0)
    for task in ("grounding", "ocr", "counting"):
        scene = compose_scene("train", task, 1, 0, ALL_QUESTIONS)
        for question in scene.questions:
            text = noise.write_noisy_answer(question, [(0, 0, 0.1, 0.1)], rng, noise.EXACT)
            truth = question.target
            expected = noise.write_box(truth) if isinstance(truth, tuple) else str(truth)
            assert text == expected


def test_few_boxes_are_those_of_another_digit():
    target, other = (0.1, 0.1, 0.3, 0.3), (0.6, 0.6, 0.8, 0.8)
    question = Question("grounding", "Where is the 7?", target)
    boxes = [parse_box(text, "norm1", FRAME)[0] for text in draw_answers(question, [other])]
    wrong = [compute_iou(box, other) > compute_iou(box, target) for box in boxes if box]
    assert len(wrong) == NUM_DRAWS
    assert np.mean(wrong) == pytest.approx(noise.USUAL.wrong_target, abs=BAND)
    alone = [parse_box(text, "norm1", FRAME)[0] for text in draw_answers(question)]
    assert all(box and compute_iou(box, other) == 0 for box in alone)


def test_few_characters_are_wrong_or_missing_and_lines_stay():
    answers = draw_answers(Question("ocr", "Read.", "888\n88"))
    assert all(text.count("\n") == 1 for text in answers)
    assert set("".join(answers)) == set("0123456789\n")
    missing = 1 - np.mean([len(text) - 1 for text in answers]) / 5
    assert missing == pytest.approx(noise.USUAL.missing_character, abs=BAND)
    wrong = np.mean([sum(c not in "8\n" for c in text) for text in answers]) / 5
    # A wrong character is drawn from all ten, so it is right by chance in a tenth of the cases.
    assert wrong == pytest.approx(0.9 * noise.USUAL.wrong_character, abs=BAND)


def test_few_counts_are_off_by_one():
    counts = np.array([int(text) for text in draw_answers(Question("counting", "How many?", 3))])
    assert set(counts) == {2, 3, 4}
    assert np.mean(counts != 3) == pytest.approx(noise.USUAL.off_by_one, abs=BAND)
    none = {int(text) for text in draw_answers(Question("counting", "How many?", 0))}
    assert none == {0, 1}  # never minus one


# Packed questions


@pytest.mark.parametrize("index", range(len(TASK_CYCLE)))
def test_prefix_and_branch_are_the_tokens_of_the_single_question(processor, index):
    """What the bootstrap trains on is what sampling will condition on, token for token."""
    ranked = SceneDialogues(8, 5, processor, write_dialogues)[index]
    scene = compose_scene("train", TASK_CYCLE[index], index, 5, ALL_QUESTIONS)
    dialogues = write_dialogues(scene, np.random.default_rng([5, index, 1]))
    assert len(dialogues) == len(ranked.packable.branches) == len(ranked.rewards_G)
    for (question, answer), branch in zip(dialogues, ranked.packable.branches, strict=True):
        content = [{"type": "image"}, {"type": "text", "text": question}]
        messages = [{"role": "user", "content": content}]
        ids, vision = encode_prompt(processor, Prompt("", messages, [encode_png(scene.image)]))
        asked, answered = branch.ids[: branch.num_unscored], branch.ids[branch.num_unscored :]
        assert [*ranked.packable.prefix_ids, *asked] == ids
        assert processor.tokenizer.decode(answered) == answer + END
        assert vision.keys() == ranked.packable.vision.keys()
        assert all(torch.equal(vision[k], ranked.packable.vision[k]) for k in vision)


def test_the_same_seed_and_index_is_the_same_list(processor):
    def read(seed: int, index: int) -> list[list[int]]:
        packable = SceneDialogues(8, seed, processor, write_dialogues)[index].packable
        return [list(branch.ids) for branch in packable.branches]

    assert read(1, 3) == read(1, 3)
    assert read(1, 3) != read(2, 3)
    assert read(1, 3) != read(1, 7)  # of the same task


def test_patches_learn_the_digits_whose_centres_they_hold(processor):
    scenes = DenseScenes(4, 0, processor.image_processor)
    for index in range(4):
        pixels, classes, boxes = scenes[index]
        scene = compose_scene("train", ("grounding", "ocr")[index % 2], index, 0)
        assert pixels.shape == (3, IMAGE_SIDE, IMAGE_SIDE)
        assert classes.shape == (GRID**2,) and boxes.shape[0] == GRID**2
        found = classes[classes != NO_DIGIT].tolist()
        assert sorted(found) == sorted(digit.value for digit in scene.placed)
        assert boxes[classes == NO_DIGIT].abs().max() == 0


def test_maps_show_each_digit_at_its_patch_in_reading_order():
    scene = compose_scene("train", "grounding", 0, 0, 4)
    drawn = draw_map(scene)
    assert len(drawn) == GRID**2
    assert sorted(drawn.replace(".", "")) == sorted(str(digit.value) for digit in scene.placed)


def test_texts_are_read_as_map_and_transcript():
    scene = compose_scene("train", "ocr", 0, seed=0)
    (_, drawn), (prompt, _) = write_readings(scene, np.random.default_rng(0))
    assert drawn == draw_map(scene)
    assert prompt == scene.questions[0].prompt


def test_lookups_write_an_edge_after_each_value():
    scene = compose_scene("train", "grounding", 0, seed=0)
    for edge, (_, answer) in enumerate(write_readings(scene, np.random.default_rng(0))):
        tenths = [min(9, digit.box[edge] * 10 // SIDE) for digit in scene.placed]
        expected = [f"{d.value}{tenth}" for d, tenth in zip(scene.placed, tenths, strict=True)]
        assert sorted(answer.split()) == sorted(expected)


def test_comparisons_are_mostly_about_extremes():
    scene = compose_scene("train", "grounding", 3, 0, ALL_QUESTIONS)
    prompts = [prompt for prompt, _ in write_comparisons(scene, np.random.default_rng(0))]
    extremes = [prompt for prompt in prompts if any(word in prompt for word in EXTREMES)]
    asked = {question.prompt for question in scene.questions}
    assert set(prompts) <= asked and len(prompts) == len(set(prompts))
    assert len(extremes) == NUM_COMPARISONS and len(prompts) == NUM_COMPARISONS + 1


# The start of the language model


@pytest.fixture(scope="module")
def start(processor) -> tuple[Any, torch.Tensor]:
    model = build_model(processor, seed=0)
    digit_ids = processor.tokenizer.convert_tokens_to_ids(list("0123456789"))
    return model, model.get_input_embeddings().weight[digit_ids].detach()


def test_a_patch_shows_as_the_embedding_of_the_digit_the_tower_saw(start):
    model, embeddings = start
    head = torch.nn.Linear(model.config.vision_config.hidden_size, NO_DIGIT + 1 + 8)
    show_to_connector(head, model.model.connector, embeddings)
    seen = torch.linalg.pinv(head.weight.detach())[:, :NO_DIGIT].T  # features of a clear 0, 1, ...
    shown = model.model.connector.modality_projection.proj(seen)
    similarity = torch.nn.functional.cosine_similarity(shown[:, None], embeddings[None], dim=2)
    assert similarity.argmax(1).tolist() == list(range(NO_DIGIT))


def test_one_head_looks_at_the_patch_of_its_digit_and_not_at_itself(start):
    model, embeddings = start
    attention = model.model.text_model.layers[0].self_attn
    look_for_digits(attention, embeddings)
    keys = torch.cat([embeddings - embeddings.mean(0), embeddings])  # patches of 0-9, then text 0-9
    keys = keys / keys.square().mean(1, keepdim=True).sqrt()  # as the layer's norm does
    queries = embeddings / embeddings.square().mean(1, keepdim=True).sqrt()
    width = attention.head_dim
    scores = attention.q_proj(queries)[:, :width] @ attention.k_proj(keys)[:, :width].T
    assert scores.argmax(1).tolist() == list(range(NO_DIGIT))


# The whole


@pytest.mark.slow
def test_a_tiny_bootstrap_writes_a_policy_and_resumes(tmp_path):
    stage = DialogueStage(steps=2, batch_scenes=2, learning_rate=1e-3, warmup_steps=0)
    config = BootstrapConfig(
        vision_steps=2,
        vision_batch_scenes=2,
        reading=stage,
        answers=stage,
        comparisons=stage,
        careless=stage,
        threads=1,
    )
    messages: list[str] = []
    folder = bootstrap(config, tmp_path / "policy", tmp_path / "work", messages.append)
    assert [finding.level for finding in check_policy_folder(folder, "norm1")] == ["ok"]
    model, _ = load_policy(folder, "float32")
    assert model.lm_head.weight is model.get_input_embeddings().weight
    weights = model.lm_head.weight
    assert torch.equal(weights, weights.to(torch.bfloat16).float())
    stages = [json.loads(line)["stage"] for line in (tmp_path / "work" / LOG_FILE).open()]
    assert "vision" in stages

    (tmp_path / "work" / "answers.pt").unlink()  # as if killed in the last stage
    kept = [tmp_path / "work" / name for name in ("vision.pt", "reading.pt")]
    times = [path.stat().st_mtime_ns for path in kept]
    again = bootstrap(config, tmp_path / "again", tmp_path / "work", messages.append)
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert hash_folder(again) == hash_folder(folder)
    straight = bootstrap(config, tmp_path / "third", tmp_path / "other", messages.append)
    assert hash_folder(straight) == hash_folder(folder)
