"""Small real artifacts in a store: samples with pictures, candidates in shards, a context."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import (
    compute_candidate_hash,
    compute_digest,
    compute_hash,
    compute_prompt_id,
    compute_sample_id,
)
from perpo_core.store.packs import PackWriter
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.store import Store
from perpo_core.store.workspace import Workspace
from perpo_core.vision.images import build_stored, hash_pixels
from schemas.arrow import CANDIDATES, SAMPLES
from schemas.artifact import AnyArtifact, CandidateSet, Counts, FileRef, SampleSet
from schemas.base import StageName, TaskName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef

POLICY_DIGEST = compute_hash("a policy")
BOX = [0.2, 0.2, 0.6, 0.6]


def build_context(root: Path, **sections: Any) -> StageContext:
    """A context on a store below root; sections as in a configuration file."""
    config = RefreshConfig.model_validate({"store": root / "store"} | sections)
    return StageContext(Store(root / "store"), config, PolicyRef(digest=POLICY_DIGEST, folder=root))


def common_fields(stage: StageName, kind: str, rows: int, files: list[Any]) -> dict[str, Any]:
    """What every artifact has."""
    return {
        "stage": stage,
        "key": compute_hash([kind, "key"]),
        "digest": compute_digest(files),
        "files": files,
        "counts": Counts(num_in=rows, num_kept=rows),
        "parents": [],
        "producer": describe_producer(seed=0),
        "created_at": utc_now(),
        "seconds": 0.0,
    }


def build_sample_row(
    number: int, task: TaskName, target: Any, split: str = "train"
) -> dict[str, Any]:
    """A sample whose picture is `number` in every pixel, 20 x 10; as sources yield them."""
    buffer = io.BytesIO()
    image = Image.new("RGB", (20, 10), (number, number, number))
    image.save(buffer, format="PNG")
    content = [{"type": "image", "text": None}, {"type": "text", "text": f"Question {task}"}]
    prompt = [{"role": "user", "content": content}]
    targets = {"box": None, "text": None, "count": None}
    targets[{"grounding": "box", "ocr": "text", "counting": "count"}[task]] = target
    stored = build_stored(buffer.getvalue(), image.size, image.size, hash_pixels(image))
    prompt_id = compute_prompt_id([stored.image_hash], prompt)
    return {
        "sample_id": compute_sample_id(prompt_id, targets),
        "image_id": stored.pixels_hash,
        "prompt_id": prompt_id,
        "task": task,
        "split": split,
        "images": [stored.image_hash],
        "width": 20,
        "height": 10,
        "prompt": prompt,
        "target": targets,
        "source": "test",
        "licence": "none",
        "row": f"test:{number}",
        "image": stored,
        "file_hash": stored.image_hash,
    }


def build_candidate_rows(
    prompt_id: str, texts: list[str], finish_reasons: list[str] | None = None
) -> list[dict[str, Any]]:
    """One candidate a text; tokens are the text's bytes and an end token."""
    reasons = finish_reasons or ["stop"] * len(texts)
    rows = []
    for index, (text, reason) in enumerate(zip(texts, reasons, strict=True)):
        token_ids = [*text.encode(), 1000]
        rows.append(
            {
                "prompt_id": prompt_id,
                "index": index,
                "policy_digest": POLICY_DIGEST,
                "candidate_hash": compute_candidate_hash(POLICY_DIGEST, prompt_id, token_ids),
                "text": text,
                "token_ids": token_ids,
                "token_logps": [-0.5] * len(token_ids),
                "logp": -0.5 * len(token_ids),
                "finish_reason": reason,
                "seed": 7,
            }
        )
    return rows


def commit_samples(store: Store, rows: list[dict[str, Any]], name: str = "key") -> SampleSet:
    key = compute_hash(["samples", name])
    workspace = store.open_workspace("samples", key)
    table = pa.Table.from_pylist(rows, schema=SAMPLES)
    files = [workspace.write_table("part-00000.parquet", table), *write_packs(workspace, rows)]
    fields = common_fields("collect", "samples", len(rows), files) | {"key": key}
    return store.commit(SampleSet(**fields, per_split={}))


def write_packs(workspace: Workspace, rows: list[dict[str, Any]]) -> list[FileRef]:
    """The images of rows as sources yield them."""
    with PackWriter(workspace, compute_hash("looking")) as writer:
        for row in {row["images"][0]: row for row in rows}.values():
            writer.add(row["image"], row["file_hash"])
    return writer.files


def read_rows(store: Store, artifact: AnyArtifact) -> list[dict[str, Any]]:
    """The rows of all parts of an artifact."""
    rows: list[dict[str, Any]] = pq.read_table(store.paths(artifact)).to_pylist()
    return rows


def commit_candidates(
    store: Store, samples: SampleSet, shards: list[list[dict[str, Any]]], name: str = "key"
) -> CandidateSet:
    key = compute_hash(["candidates", name])
    workspace = store.open_workspace("candidates", key)
    files = [
        workspace.write_part(
            f"part-{number:05d}.parquet", pa.Table.from_pylist(rows, schema=CANDIDATES), number
        )
        for number, rows in enumerate(shards)
    ]
    num_rows = sum(len(rows) for rows in shards)
    fields = common_fields("generate", "candidates", num_rows, files) | {"key": key}
    fields["parents"] = as_parents(samples)
    return store.commit(
        CandidateSet(
            **fields,
            policy_digest=POLICY_DIGEST,
            num_prompts=len(shards),
            num_candidates=num_rows,
            num_tokens=0,
        )
    )
