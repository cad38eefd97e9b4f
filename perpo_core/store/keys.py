"""Identity by content: keys, digests and ids, all sha256 over canonical JSON or bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from schemas.artifact import FileRef, Parent

BLOCK_BYTES = 1 << 20
EACH_HAS = ("box", "text", "count")  # fields of a truth that are named in its identity, null or not


def compute_hash(value: Any) -> str:
    """sha256 of a JSON value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def compute_key(
    stage: str, version: int, parents: Sequence[Parent], config: Any, extra: Any = None
) -> str:
    """What was asked: stage and version, the parents' content, and the configuration it reads."""
    return compute_hash(
        {
            "stage": stage,
            "version": version,
            "parents": [[parent.kind, parent.digest] for parent in parents],
            "config": config,
            "extra": extra,
        }
    )


def compute_digest(files: Iterable[FileRef]) -> str:
    """What came out: sha256 over the files' names and sha256, in order of name."""
    return compute_hash(sorted([file.path, file.sha256] for file in files))


def hash_file(path: str | Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hash_folder(folder: Path, hash_each: Callable[[Path], str] = hash_file) -> str:
    """sha256 over the names and contents of every file below a folder, wherever it lies."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return compute_hash([[path.relative_to(folder).as_posix(), hash_each(path)] for path in files])


def compute_prompt_id(image_hashes: Sequence[str], messages: Sequence[dict[str, Any]]) -> str:
    """Identity of a prompt: its images, by the sha256 of their bytes, and its messages."""
    return compute_hash([list(image_hashes), list(messages)])


def compute_sample_id(prompt_id: str, target: dict[str, Any]) -> str:
    """Identity of a sample: its prompt and its truth, absent fields of TARGET being null ones."""
    said = {key: value for key, value in target.items() if value is not None or key in EACH_HAS}
    return compute_hash([prompt_id, said])


def compute_candidate_hash(policy_digest: str, prompt_id: str, token_ids: Sequence[int]) -> str:
    """Identity of an answer: who said what to which prompt."""
    return compute_hash([policy_digest, prompt_id, list(token_ids)])


def derive_seed(run_seed: int, prompt_id: str) -> int:
    """A prompt's sampling seed: depends on the run seed and the prompt alone, 31 bits."""
    return int(compute_hash([run_seed, prompt_id])[:8], 16) >> 1
