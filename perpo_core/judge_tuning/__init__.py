"""`perpo judge tune`: an instruction under which a judge of pairs favours no place.

ZEPO (Zero-shot Evaluation-oriented Prompt Optimization, arXiv 2406.11370, Zhou et al.): paraphrase
the instruction, compare pairs of answers without any label, keep the instruction whose choices are
fairest, and repeat. No weight is trained and no truth is looked at to choose; what the rewards that
are known say is shown beside, before and after, on documents that chose nothing.

Left out, of the paper's code: reading preferences from probabilities of letters, chains of thought
in two calls, and rankings by merge sort.
"""

from __future__ import annotations

from perpo_core.judge_tuning.documents import require_candidates
from perpo_core.judge_tuning.files import check_target, write_outcome
from perpo_core.judge_tuning.servers import build_writer, find_judge
from perpo_core.judge_tuning.tune import tune_judge

__all__ = [
    "build_writer", "check_target", "find_judge", "require_candidates", "tune_judge",
    "write_outcome",
]  # fmt: skip
