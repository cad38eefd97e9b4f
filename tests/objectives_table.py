"""The table of docs/objectives.md, from what objectives and terms declare of themselves.

    python -m tests.objectives_table

prints it; tests/test_docs.py says whether the page has it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

from perpo_core.stages.train.objectives import OBJECTIVES, TERMS, Objective
from perpo_core.stages.train.settings import READ_BY

COLUMNS = (
    "name", "needs", "leaves its loss alone", "answers of equal reward", "its own settings",
    "time a list", "source",
)  # fmt: skip
TIMES = {
    "perpo": 1.00, "plackett_luce": 1.13, "lipo_lambda": 1.09, "dpo": 0.98, "sft": 1.07,
    "rpo": 1.01, "sdpo": 1.03, "mdpo": 1.74, "mrpo": 1.12, "tis_dpo": 1.15, "rosepo": 1.07,
    "p3o": 1.18, "nll_weight": 0.98, "conditional_weight": 1.61, "anchor_weight": 1.06,
    "degree_weight": 1.13,
}  # fmt: skip
"""Of a training step, relative to `perpo`'s, as `make bench-objectives ARGS=--cost` measured it; of
a term, `perpo` with it."""
NEEDS = {
    "reference": "a reference", "crop": "crops", "extra_references": "further references",
    "tokens": "tokens' weights", "sampler": "the sampler's log-probabilities",
    "smoothing": "how far places can be doubted",
    "degrees": "degraded versions of the best answer",
}  # fmt: skip
INVARIANCES = {
    "reward_order": "any rewards of the same order", "reward_affine": "rewards scaled or shifted",
    "reference_shift": "the reference shifted", "reward_shift": "rewards shifted",
}  # fmt: skip
TIES = {"apart": "never compared", "alike": "all count"}


def build_table() -> str:
    """As Markdown."""
    head = f"| {' | '.join(COLUMNS)} |"
    return "\n".join([head, "|" + " --- |" * len(COLUMNS), *_list_rows()])


def _list_rows() -> Iterator[str]:
    for name, objective in {**OBJECTIVES, **TERMS}.items():
        settings = sorted(each for each, readers in READ_BY.items() if name in readers - {each})
        cells = (
            f"`{name}`",
            _join(NEEDS.get(each, each) for each in sorted(objective.needs)),
            _join(INVARIANCES.get(each, each) for each in sorted(objective.invariances)),
            TIES[objective.ties],
            _join(f"`{each}`" for each in settings),
            f"{TIMES[name]:.2f}" if name in TIMES else "not measured",
            find_source(objective),
        )
        yield "| " + " | ".join(cells) + " |"


def _join(words: Iterator[str]) -> str:
    return ", ".join(words) or "-"


def find_source(objective: Objective) -> str:
    """What stands in brackets behind the first sentence of its module."""
    module = sys.modules[objective.compute_loss_P.__module__]
    first = (inspect.getdoc(module) or "").splitlines()[0]
    found = re.search(r"\(((?:arXiv|ICML|NeurIPS)[^;)]*)", first)
    return found[1] if found else "-"


if __name__ == "__main__":
    print(build_table())
