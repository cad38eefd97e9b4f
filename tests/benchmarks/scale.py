"""`make bench-scale`: a night over many photos, and the night after with 1% more.

Both go through collect, generate (eight answers each by a scripted engine, in its own process),
score, materialize and a few training steps. Measured by stage: wall time, bytes of the files that
are new in the store, and the most memory that any process held of its own (mapped files aside).
`exponent` compares with a first night of a tenth of the photos: cost grows with photos to its
power. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.policy.stamps import refer_to
from perpo_core.stages import collect, generate, materialize, score, train
from perpo_core.stages.generate import sampling
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.store import Store
from schemas.config import RefreshConfig
from tests.benchmarks import scale_engine
from tests.benchmarks.memory import watch_memory
from tests.benchmarks.photos import SIDE_OF, write_photos
from tests.perpo_core.children import CHILDREN_PATH

ANSWERS, STEPS, BATCH_LISTS = 8, 50, 4
MORE = 0.01
TENTH = 10
MAX_BYTES = 3 << 30
STAGES: dict[str, Any] = {
    "collect": collect, "generate": generate, "score": score, "materialize": materialize,
    "train": train,
}  # fmt: skip


@dataclass
class Night:
    """What one night cost, by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    num_bytes: dict[str, int] = field(default_factory=dict)
    """Of files that are new in the store."""
    peak_bytes: dict[str, int] = field(default_factory=dict)
    """Of the process that held the most."""


def main() -> None:
    arguments = parse_arguments()
    sampling.CHILD = scale_engine.MODULE
    os.environ |= CHILDREN_PATH  # children look for no module where they are started
    with tempfile.TemporaryDirectory(prefix="perpo-scale-", dir=arguments.folder) as folder:
        result = measure(Path(folder), arguments.photos, arguments.image_bytes)
    print(json.dumps(result))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--image-bytes", type=int, default=100_000, choices=sorted(SIDE_OF))
    parser.add_argument("--folder", type=Path, help="where there is room for it all twice")
    return parser.parse_args()


def measure(folder: Path, num_photos: int, image_bytes: int) -> dict[str, Any]:
    """A first night of a tenth, one of all, and one of 1% more; photos and stores lie in folder."""
    more = math.ceil(num_photos * MORE)
    parts = [0, num_photos // TENTH, num_photos, num_photos + more]
    photos = folder / "photos"
    for start, stop in pairwise(parts):
        say(f"writing photos {start} to {stop}")
        write_photos(photos, start, stop, image_bytes)
    files = sorted(photos.glob("*.jsonl"))
    tenth = run_night(folder / "tenth", files[:1], num_photos // TENTH)
    first = run_night(folder / "store", files[:2], num_photos)
    second = run_night(folder / "store", files, num_photos + more)
    return {
        "photos": num_photos,
        "image_bytes": image_bytes,
        "answers": num_photos * ANSWERS,
        "first": vars(first),
        "second": vars(second),
        "share_of_bytes": compare(second.num_bytes, first.num_bytes),
        "share_of_time": compare(second.seconds, first.seconds),
        "exponent": {
            name: round(math.log(first.seconds[name] / tenth.seconds[name], TENTH), 3)
            for name in STAGES
            if name != "train"  # always so many steps
        },
        "is_within_memory": max(night_peak(night) for night in (tenth, first, second)) < MAX_BYTES,
    }


def night_peak(night: Night) -> int:
    return max(night.peak_bytes.values())


def compare(second: dict[str, Any], first: dict[str, Any]) -> dict[str, float]:
    return {name: round(second[name] / max(first[name], 1), 4) for name in STAGES}


def run_night(root: Path, files: list[Path], num_photos: int) -> Night:
    """Every stage after the other, each through the store as in a refresh."""
    config = build_config(root, files, num_photos)
    context = StageContext(Store(root), config, refer_to(BUILTIN_FOLDER), log=say)
    night, made = Night(), dict[str, Any]()
    parents = {
        "collect": [], "generate": ["collect"], "score": ["collect", "generate"],
        "materialize": ["collect", "generate", "score"], "train": ["collect", "materialize"],
    }  # fmt: skip
    for name, stage in STAGES.items():
        with measuring(night, name, root):
            inputs = [made[parent] for parent in parents[name]]
            made[name] = find_or_make(context, stage, *inputs).artifact
        say(f"{name} of {num_photos}: {night.seconds[name]} s, {night.num_bytes[name]:,} bytes, "
            f"at most {night.peak_bytes[name]:,} held")  # fmt: skip
    return night


@contextmanager
def measuring(night: Night, name: str, root: Path) -> Iterator[None]:
    before = list_sizes(root)
    started_s = time.monotonic()
    with watch_memory() as peak:
        yield
    night.seconds[name] = round(time.monotonic() - started_s, 2)
    after = list_sizes(root)
    night.num_bytes[name] = sum(size for path, size in after.items() if path not in before)
    night.peak_bytes[name] = peak.num_bytes


def list_sizes(root: Path) -> dict[str, int]:
    return {
        os.path.join(folder, name): os.lstat(os.path.join(folder, name)).st_size
        for folder, _, names in os.walk(root)
        for name in names
    }


def build_config(root: Path, files: list[Path], num_photos: int) -> RefreshConfig:
    return RefreshConfig.model_validate(
        {
            "store": root,
            "source": {"kind": "jsonl", "files": files},
            "generate": {"num_candidates": ANSWERS, "processes": 1},
            "lists": {"min_gap": {"grounding": 0.1}},
            "train": {
                "batch_lists": BATCH_LISTS, "epochs": STEPS * BATCH_LISTS / num_photos,
                "reference_logps": "sampled", "eval_prompts": 8, "eval_every_steps": STEPS,
                "trackers": [],
            },
        }
    )  # fmt: skip


def say(message: str) -> None:
    print(f"bench-scale: {message}", flush=True)


if __name__ == "__main__":
    main()
