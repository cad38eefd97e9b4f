"""The champion: the policy promoted at the moment, which a candidate has to beat.

Gates against the policy that a run started from say that training helped. Whether the result is
better than what it would replace is another question as soon as the two differ: an experiment from
the built-in policy, two names that start from the same one, an approval given late. The champion is
then asked the same held-out prompts (the store often has its answers), and the same gates hold.
"""

from __future__ import annotations

from dataclasses import replace

from perpo_core.policy.resolve import locate_policy, resolve_base
from perpo_core.promotion.pointer import Pointer, find_damage, find_line, load_moves
from perpo_core.stages import evaluate
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint, EvalReport, SampleSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef


def find_champion(store: Store, checkpoint: Checkpoint) -> Pointer | None:
    """What the checkpoint has to beat besides the policy it started from; None if nothing else.

    For a policy that was promoted before it is what was promoted until then: its question was
    answered, and what a later round or a person made of it is no reason to ask anew.
    """
    moves = load_moves(store)
    before = [
        number
        for number, move in enumerate(moves)
        if move.policy_digest == checkpoint.policy_digest and not move.rolled_back
    ]
    line = find_line(moves[: before[0]] if before else moves)
    known = (checkpoint.base_policy_digest, checkpoint.policy_digest)
    return line[-1] if line and line[-1].policy_digest not in known else None


def find_problem(store: Store, config: RefreshConfig, champion: Pointer) -> str | None:
    """Why a champion cannot be asked, in words, by a look that hashes nothing; None if it can."""
    if champion.folder is not None:
        folder = store.root / champion.folder
        return None if store.is_remote or folder.is_dir() else f"{folder} is gone"
    if resolve_base(config.policy, store).digest != champion.policy_digest:
        return "it is where the rounds began, which policy.base of this configuration does not name"
    return None


def compare_with_champion(
    context: StageContext, champion: Pointer, evaluation: EvalReport, checkpoint: Checkpoint
) -> EvalReport:
    """Champion against checkpoint on the evaluation's prompts, from the store where it has that.

    Raises ValueError if the champion is damaged or the evaluation's samples are gone.
    """
    problem = find_damage(context.store, champion)
    if problem:
        raise ValueError(
            f"the promoted policy {champion.policy_digest[:12]} cannot be compared: {problem}; "
            "name another one with `perpo rollback`"
        )
    context.log(f"comparing with the promoted policy {champion.policy_digest[:12]}")
    settings = context.config.evaluate.model_copy(update={"probe_prompts": 0})  # of no gate
    config = context.config.model_copy(update={"evaluate": settings})
    rival = replace(context, config=config, policy=_locate(context, champion), force=False)
    samples = _load_samples(context, evaluation)
    found: EvalReport = find_or_make(rival, evaluate, samples, checkpoint).artifact
    return found


def _locate(context: StageContext, champion: Pointer) -> PolicyRef:
    if champion.folder is None:
        return resolve_base(context.config.policy, context.store)
    folder = context.store.fetch_folder(context.store.root / champion.folder)
    return locate_policy(
        folder, context.config.policy, context.store, champion.policy_digest, _list_known(context)
    )


def _list_known(context: StageContext) -> list[PolicyRef]:
    return [policy for policy in (context.policy, context.policy.base) if policy]


def _load_samples(context: StageContext, evaluation: EvalReport) -> SampleSet:
    parent = next(parent for parent in evaluation.parents if parent.kind == "samples")
    found = context.store.find("samples", parent.key, context.log)
    if not isinstance(found, SampleSet) or found.digest != parent.digest:
        raise ValueError(
            f"the samples of the evaluation {evaluation.key[:12]} are no longer in "
            f"{context.store.place} as they were; run again from collect"
        )
    return found
