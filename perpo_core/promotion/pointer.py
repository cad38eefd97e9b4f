"""The "promoted policy": a pointer that the next round samples from, and every move it made.

    <store>/promoted/current.json     where it points now
    <store>/promoted/history.jsonl    every move, oldest first

Decisions move the pointer to a policy once. One that the history knows stays where it is, since a
later round or a roll-back may have moved on from it on purpose. A decision moves the pointer only
from a policy that it compared (a compare-and-swap): else it is made again.

Where current.json is damaged or gone, the last readable line of the history counts; damaged lines
are named and left out. Nothing is moved, and no run starts from "promoted", where neither tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from perpo_core.store.base import find_stored_base, load_base_digest
from perpo_core.store.keys import hash_folder
from perpo_core.store.known_digests import hash_untouched
from perpo_core.store.lenient import Unreadable, parse
from perpo_core.store.lines import add_line, load_lines, parse_lines
from perpo_core.store.locks import locked
from perpo_core.store.provenance import utc_now
from perpo_core.store.store import DamagedArtifact, Store
from schemas.artifact import Checkpoint, Promotion
from schemas.base import Digest, Frozen

FOLDER = "promoted"
CURRENT, HISTORY = f"{FOLDER}/current.json", f"{FOLDER}/history.jsonl"
BASE = "base"  # where the rounds began; no start of a digest, since s is no hexadecimal digit
MODEL_FOLDER = "model"  # of a checkpoint artifact


class ChampionChanged(Exception):
    """The pointer moved after a decision was made, to a policy that it knows nothing of."""


class Pointer(Frozen):
    """current.json, and one line of history.jsonl."""

    policy_digest: Digest
    folder: str | None
    """The policy's folder, relative to the store; it names the attempt, so it never changes. None:
    where the rounds began, which the configuration names (policy.base)."""
    base_policy_digest: Digest | None = None
    """What the policy was trained from; of the first promotion, where the rounds began."""
    checkpoint_key: Digest | None = None
    promotion_key: Digest | None = None
    promotion_attempt: int = 0
    rolled_back: bool = False
    """True if a person pointed back here, False if a promotion did."""
    at: datetime


_POINTER = TypeAdapter(Pointer)


def build_pointer(store: Store, promotion: Promotion, checkpoint: Checkpoint) -> Pointer:
    """The pointer that a promotion asks for."""
    return Pointer(
        policy_digest=promotion.policy_digest,
        folder=store.path(checkpoint, MODEL_FOLDER).relative_to(store.root).as_posix(),
        base_policy_digest=checkpoint.base_policy_digest,
        checkpoint_key=checkpoint.key,
        promotion_key=promotion.key,
        promotion_attempt=promotion.attempt,
        at=promotion.created_at,
    )


def is_applied(store: Store, promotion: Promotion) -> bool:
    """Whether the pointer was moved to this policy before.

    No decision does so twice: a later round or a person moved it on, and `perpo rollback` is how a
    person brings a policy back.
    """
    moved = [entry.policy_digest for entry in load_history(store) if not entry.rolled_back]
    return load_promoted(store) is not None and promotion.policy_digest in moved


def apply_promotion(store: Store, promotion: Promotion, checkpoint: Checkpoint) -> None:
    """Leave the pointer as this decision wants it; call it after a reused decision too.

    Does nothing if the decision was a refusal, was applied before, or names the current policy.
    Raises ChampionChanged if the current policy is none of those that the decision compared.
    """

    def decide(current: Pointer | None) -> Pointer | None:
        if is_applied(store, promotion):
            return None
        compared = (checkpoint.base_policy_digest, promotion.champion_digest)
        if current is not None and current.policy_digest not in compared:
            raise ChampionChanged(
                f"the promoted policy is {current.policy_digest[:12]} now, with which this one "
                "was not compared"
            )
        return build_pointer(store, promotion, checkpoint)

    if promotion.promoted:
        _decide(store, decide)


def roll_back(store: Store, policy_digest: str) -> Pointer:
    """Point at a policy that was promoted before, by its digest, or at "base".

    Raises ValueError if none or several have this digest (or start), or if it is gone or damaged.
    """
    history = load_moves(store)
    base = _find_base(store, history)
    known = [*history, *([base] if base else [])]
    found = {
        entry.policy_digest: entry for entry in known
        if (policy_digest and entry.policy_digest.startswith(policy_digest))
        or (policy_digest == BASE and entry.folder is None)
    }  # fmt: skip
    if len(found) != 1:
        raise ValueError(
            f"{len(found)} promoted policies have a digest that starts with {policy_digest!r}; "
            f"`perpo promotions` lists those of {store.place}"
        )
    return _roll_back_to(store, next(iter(found.values())))


def roll_back_to_previous(store: Store) -> Pointer:
    """Point at what was promoted before the current policy, or at where the rounds began.

    Raises ValueError if the pointer is there already, or if that policy is gone or damaged.
    """
    return _roll_back_to(store, find_previous(store))


def find_previous(store: Store) -> Pointer:
    """What was promoted before the current policy; ValueError if there is nothing before it."""
    history = load_moves(store)
    line = find_line(history)
    if len(line) > 1:
        return line[-2]
    require_known(store)
    if not line or line[-1].folder is None:
        raise ValueError(
            f"nothing is promoted in {store.place}, so there is nothing to roll back; "
            "`perpo promotions` shows the history"
        )
    base = _find_base(store, history)
    if base is None:
        raise ValueError(
            f"the checkpoint that was promoted first in {store.place} is gone, or its line in "
            f"{HISTORY}, and with it which policy the rounds began with; name that policy as "
            "policy.model"
        )
    return base


def find_line(history: Sequence[Pointer]) -> list[Pointer]:
    """The policies that led to the current one, oldest first: roll-backs undo what they passed."""
    line: list[Pointer] = []
    for entry in history:
        digests = [earlier.policy_digest for earlier in line]
        if entry.folder is None:
            line = [entry]
        elif entry.rolled_back and entry.policy_digest in digests:
            line = [*line[: digests.index(entry.policy_digest)], entry]
        else:
            line.append(entry)
    return line


def _find_base(store: Store, history: Sequence[Pointer]) -> Pointer | None:
    """Where the rounds began: what the first promotion was trained from; None if not known."""
    if not history or _has_lost_its_start(store):
        return None
    first, digest = history[0], history[0].base_policy_digest
    if digest is None and first.checkpoint_key:
        checkpoint = store.load("checkpoint", first.checkpoint_key)
        digest = checkpoint.base_policy_digest if isinstance(checkpoint, Checkpoint) else None
    return Pointer(policy_digest=digest, folder=None, at=first.at) if digest else None


def _has_lost_its_start(store: Store) -> bool:
    return 1 in parse_lines(store.read(HISTORY), Pointer)[1]


def _roll_back_to(store: Store, target: Pointer) -> Pointer:
    problem = find_damage(store, target)
    if problem:
        raise ValueError(
            f"cannot roll back to the policy {target.policy_digest[:12]}: {problem}; choose "
            "another one of `perpo promotions`"
        )
    pointer = target.model_copy(update={"rolled_back": True, "at": utc_now()})
    _move(store, pointer)
    return pointer


def find_damage(store: Store, pointer: Pointer) -> str | None:
    """What keeps a policy from being used, in words; None if its folder is as it was promoted."""
    if pointer.folder is None:  # the configuration names it, and a run checks it when it starts
        return None
    try:
        folder = store.fetch_folder(store.root / pointer.folder)
    except DamagedArtifact as damage:
        return str(damage)
    if not folder.is_dir():
        return f"{folder} is gone"
    if hash_folder(folder, hash_untouched) != pointer.policy_digest:
        return f"{folder} is no longer what was promoted"
    return _find_damage_of_base(store, folder)


def _find_damage_of_base(store: Store, folder: Path) -> str | None:
    """The same of what a policy's adapter goes onto, where that lies in the store.

    Elsewhere a run that starts from it looks, since the configuration may say where it is.
    """
    try:
        base = find_stored_base(store, folder)
        if base is None:
            return None
        base = store.fetch_folder(base)
    except (DamagedArtifact, ValueError) as damage:
        return f"its base is not there ({damage})"
    if not base.is_dir():
        return f"its base {base} is gone"
    if hash_folder(base, hash_untouched) != load_base_digest(folder):
        return f"its base {base} is no longer what it was"
    return None


def _move(store: Store, pointer: Pointer) -> None:
    _decide(store, lambda current: pointer)


def _decide(store: Store, decide: Callable[[Pointer | None], Pointer | None]) -> None:
    """Point where `decide` says, given where it points now; None leaves it there.

    The pointer first, then the history. Who comes next, after a kill in between or on another
    machine, notes the present pointer before moving it, so that the history is whole and in order.
    """
    moved: Pointer | None = None

    def change(body: bytes | None) -> bytes | None:
        nonlocal moved
        current = _parse(body) or _recover(store, body)
        if current is None:
            require_known(store)
        else:
            _note(store, current)
        moved = decide(current)
        return moved.model_dump_json(indent=2).encode() if moved else None

    with locked(store.root / FOLDER / ".lock"):
        for name in (CURRENT, HISTORY):
            store.set_aside(name)
        store.update(CURRENT, change)
        if moved is not None:
            _note(store, moved)


def _note(store: Store, pointer: Pointer) -> None:
    """Add a move to the history, once; another version may have noted it in other words."""
    line = pointer.model_dump_json().encode() + b"\n"

    def change(body: bytes | None) -> bytes | None:
        return None if pointer in parse_lines(body, Pointer)[0] else add_line(body, line)

    store.update(HISTORY, change)


def load_promoted(store: Store) -> Pointer | None:
    """Which policy is promoted now (current.json); None if none ever was, or none is known."""
    body = store.read(CURRENT)
    return _parse(body) or _recover(store, body)


def _recover(store: Store, body: bytes | None) -> Pointer | None:
    """What the history says was promoted last, where current.json does not tell."""
    history = load_history(store)
    damage = "it is missing" if body is None else "it is damaged"
    if history:
        digest = history[-1].policy_digest[:12]
        store.leave_out(CURRENT, f"{damage}; {digest}, promoted last by {HISTORY}, counts")
    elif body is not None:
        store.leave_out(CURRENT, f"{damage}, and {HISTORY} does not tell what was promoted")
    return history[-1] if history else None


def require_known(store: Store) -> None:
    """Raise ValueError, one sentence, where something was promoted and nothing tells what."""
    if is_lost(store):
        raise ValueError(
            f"what is promoted in {store.place} is not known: {CURRENT} and {HISTORY} are both "
            "damaged; restore one of them from a backup, or move both away to begin anew"
        )


def is_lost(store: Store) -> bool:
    """Whether something was promoted and neither file tells what."""
    if load_promoted(store) is not None:
        return False
    return store.read(CURRENT) is not None or bool((store.read(HISTORY) or b"").strip())


def load_history(store: Store) -> list[Pointer]:
    """Every move of the pointer, oldest first."""
    return load_lines(store, HISTORY, Pointer)


def load_moves(store: Store) -> list[Pointer]:
    """Every move, oldest first, also one that was not noted before its process was killed."""
    current, history = load_promoted(store), load_history(store)
    return [*history, current] if current and current not in history else history


def _parse(body: bytes | None) -> Pointer | None:
    """None where there is none, or a damaged one."""
    try:
        return None if body is None else parse(_POINTER, body, "pointer")
    except Unreadable:
        return None
