"""What the real vLLM makes of prompts: the ids of transformers, and refusals that end nothing.

The policy is the tests' own with a chat template that prints a beginning-of-sequence token which
its tokenizer adds too, as Llama 3's do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, processors
from transformers import AutoProcessor

from perpo_core.policy.encoding import encode_prompt
from perpo_core.policy.prompts import iter_prompts
from perpo_core.policy.refusals import TOO_LONG, load_refusals
from perpo_core.policy.stamps import refer_to
from perpo_core.stages import generate
from perpo_core.stages.generate import sampling
from perpo_core.stages.generate.identity import compute_candidates_key
from perpo_core.stages.generate.sampling import make_candidates
from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.stage import StageContext
from schemas.artifact import CandidateSet, SampleSet
from schemas.run import PolicyRef
from tests.perpo_core.recording_child import PROMPT_IDS_FILE
from tests.perpo_core.small_store import build_context, build_sample_row, commit_samples

BOS = "~"  # of the tokens that the policy has
QUESTIONS = ["Count. " * 14, "How many?", "And now?", "How many are there? " * 2]
LIMIT, MAX_TOKENS = 100, 16


@pytest.fixture(scope="module")
def begun_twice(policy: PolicyRef, tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    """The policy with such a template and such a tokenizer."""
    folder = shutil.copytree(policy.folder, tmp_path_factory.mktemp("begun") / "policy")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([BOS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"bos_token": BOS}))
    template = folder / "chat_template.jinja"
    template.write_text("{{ bos_token }}" + template.read_text())
    return refer_to(folder)


def build_rows() -> Iterator[dict[str, Any]]:
    """Every question about the same two pictures, so that a refused one shares its picture."""
    for picture in (1, 2):
        for number, question in enumerate(QUESTIONS):
            row = build_sample_row(picture, "counting", 1)
            row["prompt"][0]["content"][1]["text"] = question
            yield row | {"prompt_id": f"{picture}{number}" * 32, "sample_id": f"{number}{picture}"}


@pytest.fixture(scope="module")
def sampled(
    begun_twice: PolicyRef, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StageContext, SampleSet, CandidateSet]:
    root = tmp_path_factory.mktemp("sampled")
    context = build_context(
        root, policy={"max_model_len": LIMIT},
        generate={"num_candidates": 3, "max_tokens": MAX_TOKENS, "processes": 1},
    )  # fmt: skip
    context = replace(context, policy=begun_twice)
    samples = commit_samples(context.store, list(build_rows()))
    request = generate.build_request(context.config).model_copy(update={"greedy": True})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "CHILD", "tests.perpo_core.recording_child")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
        key = compute_candidates_key(request, begun_twice, samples)
        made = make_candidates(context, key, request, begun_twice, samples)
    return context, samples, context.store.commit(made)


@pytest.fixture(scope="module")
def ids_of(sampled, begun_twice) -> dict[str, list[int]]:
    """prompt_id -> the ids that training sees."""
    context, samples, _ = sampled
    processor = AutoProcessor.from_pretrained(begun_twice.folder)
    prompts = iter_prompts(list_sample_files(context.store, samples), ["train"])
    return {prompt.prompt_id: encode_prompt(processor, prompt)[0] for prompt in prompts}


@pytest.mark.slow
def test_a_prompt_begins_once_in_vllm_too(sampled, begun_twice, ids_of):
    context, _, candidates = sampled
    bos_id = Tokenizer.from_file(str(begun_twice.folder / "tokenizer.json")).token_to_id(BOS)
    ours = list(ids_of.values())
    assert all(ids[0] == bos_id and ids.count(bos_id) == 1 for ids in ours)
    folder = context.store.folder(candidates.kind, candidates.key)
    used = [json.loads(line) for line in (folder / PROMPT_IDS_FILE).read_text().splitlines()]
    fitting = [ids for ids in ours if len(ids) < LIMIT]
    assert used == [ids for ids in fitting for _ in ("greedy", "sampled")]


def test_what_is_too_long_is_a_counted_drop_and_its_picture_is_answered_about(sampled, ids_of):
    context, _, candidates = sampled
    refusals = load_refusals(context.store, candidates)
    assert list(refusals) == ["10" * 32, "20" * 32]
    assert candidates.counts.dropped == {TOO_LONG: 2} and candidates.counts.num_kept == 6
    assert {refusal.detail.partition("take ")[2] for refusal in refusals.values()} == {
        "116 tokens, policy.max_model_len is 100"
    }
    rows = [r for path in context.store.paths(candidates) for r in pq.read_table(path).to_pylist()]
    answered = ["11", "12", "13", "21", "22", "23"]
    assert [(row["prompt_id"][:2], row["index"]) for row in rows] == [
        (prompt, index) for prompt in answered for index in (-1, 0, 1, 2)
    ]
    rooms = {prompt_id: LIMIT - len(ids) for prompt_id, ids in ids_of.items()}
    assert all(len(row["token_ids"]) <= rooms[row["prompt_id"]] for row in rows)
    assert any(0 < room < MAX_TOKENS for room in rooms.values())
