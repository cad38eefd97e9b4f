"""What becomes of a round whose gates passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.report.load import RunArtifacts
from perpo_core.rounds.measure import decide
from tests.perpo_core.round_fixture import GATES, build_round, build_validation, make, policy_of
from tests.perpo_core.small_store import POLICY_DIGEST, build_context


@pytest.mark.parametrize(
    ("base", "gain", "decision", "said"),
    [
        (POLICY_DIGEST, 0.05, "promoted", None),
        (POLICY_DIGEST, 0.0, "not promoted", "in sampled_reward > 0; measured -0.0100"),
        (policy_of("one"), 0.05, "not promoted", "there is nothing new"),
    ],
)
def test_only_a_new_policy_that_passed_is_promoted(
    tmp_path: Path, base: str, gain: float, decision: str, said: str | None
) -> None:
    """The last one is a training that kept its start: gates may be such that it passes them."""
    context = build_context(tmp_path, promote=GATES)
    evaluation, checkpoint = build_round(context, "one", build_validation(gain), base)
    promotion = make(context, evaluation, checkpoint)
    artifacts = RunArtifacts({"train": checkpoint, "promote": promotion})
    found, reason = decide(context.store, artifacts)
    assert found == decision
    assert reason is None if said is None else reason is not None and said in reason
