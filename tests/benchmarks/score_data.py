"""Samples and candidates of the size of a night, as the stages before scoring leave them.

Boxes: 16 answers a prompt around the true one, two decimals each, as the built-in policy writes
them; of two hundred answers four are sentences around the box, one is written in another way and
one says nothing. Pages: lines of words, a thousand characters, of which an answer has some wrong.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pyarrow as pa

from perpo_core.store.keys import compute_hash
from perpo_core.store.provenance import as_parents
from perpo_core.store.store import Store
from schemas.arrow import CANDIDATES, SAMPLES
from schemas.artifact import CandidateSet, SampleSet
from tests.perpo_core.small_store import POLICY_DIGEST, common_fields

ANSWERS_PER_PROMPT = 16
PROMPTS_PER_SHARD = 256
WRONG = 0.02  # of a page's characters
PAGE = 1000  # characters
Drawn = tuple[dict[str, Any], list[str]]
"""A truth and its answers."""


def draw_boxes(generator: random.Random) -> Drawn:
    x1, y1 = generator.uniform(0, 0.6), generator.uniform(0, 0.6)
    box = [x1, y1, x1 + generator.uniform(0.1, 0.4), y1 + generator.uniform(0.1, 0.4)]
    answers = [
        _write(generator.random(), [v + generator.gauss(0, 0.04) for v in box])
        for _ in range(ANSWERS_PER_PROMPT)
    ]
    return {"box": box}, answers


def _write(chance: float, box: list[float]) -> str:
    row = ", ".join(f"{value:.2f}" for value in box)
    if chance < 0.005:
        return "I cannot see it."
    if chance < 0.01:
        return f"<box>{row.replace(',', '')}</box>"
    return f"It is at [{row}]." if chance < 0.03 else f"[{row}]"


def draw_page(generator: random.Random) -> Drawn:
    words = "".join(generator.choices(string.ascii_letters + "      .,", k=PAGE)).split()
    page = "\n".join(" ".join(words[start : start + 9]) for start in range(0, len(words), 9))
    page = page.ljust(PAGE, "e")[:PAGE]
    return {"text": page}, [_spoil(generator, page) for _ in range(ANSWERS_PER_PROMPT)]


def _spoil(generator: random.Random, page: str) -> str:
    letters = list(page)
    for place in generator.sample(range(len(letters)), int(WRONG * len(letters))):
        letters[place] = generator.choice(("", "x", letters[place] * 2))
    return "".join(letters)


DRAW: dict[str, Callable[[random.Random], Drawn]] = {"grounding": draw_boxes, "ocr": draw_page}


def build_parents(store: Store, task: str, num_answers: int) -> tuple[SampleSet, CandidateSet]:
    """Committed, a shard at a time."""
    samples_at = store.open_workspace("samples", compute_hash([task, "samples"]))
    answers_at = store.open_workspace("candidates", compute_hash([task, "candidates"]))
    rows: list[dict[str, Any]] = []
    files = []
    for number, prompts in enumerate(_draw_shards(task, num_answers)):
        rows += [_build_sample(task, *each) for each in prompts]
        table = _build_candidates(prompts)
        files.append(answers_at.write_part(f"part-{number:05d}.parquet", table, number))
    table = pa.Table.from_pylist(rows, schema=SAMPLES)
    sample_files = [samples_at.write_table("part-00000.parquet", table)]
    fields = common_fields("collect", "samples", len(rows), sample_files) | {"key": samples_at.key}
    samples = store.commit(SampleSet(**fields, per_split={}))
    fields = common_fields("generate", "candidates", num_answers, files) | {"key": answers_at.key}
    fields |= {"parents": as_parents(samples), "policy_digest": POLICY_DIGEST, "num_tokens": 0}
    counts = {"num_prompts": len(rows), "num_candidates": num_answers}
    return samples, store.commit(CandidateSet(**fields, **counts))


def _draw_shards(task: str, num_answers: int) -> Iterator[list[tuple[int, Drawn]]]:
    num_prompts = num_answers // ANSWERS_PER_PROMPT
    for start in range(0, num_prompts, PROMPTS_PER_SHARD):
        numbers = range(start, min(start + PROMPTS_PER_SHARD, num_prompts))
        yield [(number, DRAW[task](random.Random(number))) for number in numbers]


def _identify(*what: object) -> str:
    return sha256(repr(what).encode()).hexdigest()


def _build_sample(task: str, number: int, drawn: Drawn) -> dict[str, Any]:
    prompt_id = _identify(number)
    return {
        "sample_id": _identify("sample", number), "prompt_id": prompt_id, "image_id": prompt_id,
        "task": task, "split": "train", "images": [prompt_id], "width": 640, "height": 480,
        "prompt": [], "target": drawn[0], "source": "benchmark", "licence": "none", "row": "",
    }  # fmt: skip


def _build_candidates(prompts: list[tuple[int, Drawn]]) -> pa.Table:
    rows = [
        {
            "prompt_id": _identify(number), "index": index, "policy_digest": POLICY_DIGEST,
            "candidate_hash": _identify(number, index), "text": text,
            "token_ids": [index] * 20, "token_logps": [-0.5] * 20, "logp": -10.0,
            "finish_reason": "stop", "seed": number,
        }
        for number, (_, answers) in prompts
        for index, text in enumerate(answers)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=CANDIDATES)
