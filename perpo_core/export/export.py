"""`perpo export`: from a run in a store to a folder with weights, processor and model card."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from perpo_core.export.card import build_card
from perpo_core.export.facts import MODEL_CARD, CardFacts
from perpo_core.export.folder import (
    FileCopy,
    check_copy,
    check_target,
    read_checked,
    write_folder,
)
from perpo_core.export.licence import read_licence
from perpo_core.export.origin import find_origin
from perpo_core.policy.adapters import CONFIG_FILE, load_settings
from perpo_core.policy.resolve import locate_policy
from perpo_core.promotion.pointer import MODEL_FOLDER
from perpo_core.report.choice import describe_choice
from perpo_core.report.load import load_artifacts
from perpo_core.store.base import POLICY_FILE, load_base_digest
from perpo_core.store.store import DamagedArtifact, Store
from schemas.artifact import Checkpoint
from schemas.run import ADAPTER, RunRecord

ADAPTER_ON_BASE = f"{MODEL_FOLDER}/{ADAPTER}"  # where the policy is the adapter
ADAPTER_FOLDERS = (f"{ADAPTER}/", f"{ADAPTER_ON_BASE}/")


def export_run(
    store: Store,
    run: RunRecord,
    records: Sequence[RunRecord],
    folder: Path,
    adapter: bool,
    log: Callable[[str], None],
) -> Path:
    """Write the run's whole model, or its adapter, with a card; returns where it lies.

    Of a policy that is an adapter on its base the two are merged here.

    `records` are all runs of the store: a start that was "promoted" is named by the run that made
    it. Raises ValueError, one sentence, where there is nothing to export or no place for it.
    """
    target = Path(os.path.realpath(folder.expanduser()))
    check_target(target, num_bytes=0)  # before anything is read
    facts = load_facts(store, run, records, adapter)
    if facts.is_start_kept:
        log(f"{run.run_id} kept its start (chosen step 0): these are the weights it started from")
    on_base = facts.base_digest is not None
    inside = (ADAPTER_ON_BASE if on_base else ADAPTER) if adapter else MODEL_FOLDER
    copies = list_copies(store, facts.checkpoint, inside)
    texts = {MODEL_CARD: build_card(facts)}
    if adapter:
        texts |= _rename_start(copies, facts)
    if on_base and not adapter:
        export_merged(store, facts, copies, target, texts)
    else:
        write_folder(target, copies, texts)
    return target


def export_merged(
    store: Store, facts: CardFacts, copies: Sequence[FileCopy], target: Path, texts: dict[str, str]
) -> None:
    """The base's weights with the adapter added to them, and every other file as it is.

    Raises ValueError, one sentence, where the base is gone, or the adapter damaged.
    """
    for copy in copies:
        check_copy(copy)
    folder = store.path(facts.checkpoint, MODEL_FOLDER)
    policy = locate_policy(folder, facts.config.policy, store, facts.checkpoint.policy_digest)
    others = [c for c in copies if "/" not in c.name and c.name != POLICY_FILE]
    weights = policy.weights_folder.glob("*.safetensors")

    def merge(temporary: Path) -> None:
        from perpo_core.policy.loading import save_merged  # torch, which no other export needs

        save_merged(policy, facts.config.policy.dtype, temporary)

    num_bytes = sum(path.stat().st_size for path in weights)
    write_folder(target, others, texts, merge, num_bytes)


def load_facts(
    store: Store, run: RunRecord, records: Sequence[RunRecord], adapter: bool
) -> CardFacts:
    """The run's artifacts and what its base states. Raises ValueError if it trained nothing."""
    artifacts = load_artifacts(store, run)
    checkpoint = artifacts.checkpoint
    if checkpoint is None:
        raise ValueError(
            f"{run.run_id} has no trained model to export: {artifacts.missing['train']}"
        )
    if adapter:
        _check_adapter(run, checkpoint)
    try:
        store.fetch_folder(store.path(checkpoint, MODEL_FOLDER))
    except DamagedArtifact as damage:
        raise ValueError(f"{damage}; train it anew with `perpo rerun RUN --from train`") from damage
    origin = find_origin(store, run, records)
    licence, folder = _load_licence(store, checkpoint), store.path(checkpoint, MODEL_FOLDER)
    base = load_base_digest(folder)
    rank = load_settings(folder / ADAPTER)["r"] if base else None
    return CardFacts(run, artifacts, origin, checkpoint, adapter, licence, base, rank)


def list_copies(store: Store, checkpoint: Checkpoint, folder: str) -> list[FileCopy]:
    """The files of one folder of the checkpoint, under their names in it."""
    return [
        FileCopy(store.path(checkpoint, file.path), file, file.path.removeprefix(f"{folder}/"))
        for file in checkpoint.files
        if file.path.startswith(f"{folder}/")
    ]


def _check_adapter(run: RunRecord, checkpoint: Checkpoint) -> None:
    if run.config.train.adapter == "full":
        why = "it trained every weight (train.adapter = full)"
    elif checkpoint.chosen_step == 0:
        why = f"it kept its start, since {describe_choice(checkpoint)}"
    elif not any(file.path.startswith(ADAPTER_FOLDERS) for file in checkpoint.files):
        why = f"its checkpoint holds no {ADAPTER} folder"
    else:
        return
    raise ValueError(
        f"{run.run_id} has no adapter to export: {why}; leave --adapter out for the whole model"
    )


def _load_licence(store: Store, checkpoint: Checkpoint) -> dict[str, str]:
    """From the base's own card, which lies with the trained model as every file but the weights."""
    copies = {copy.name: copy for copy in list_copies(store, checkpoint, MODEL_FOLDER)}
    if MODEL_CARD not in copies:
        return {}
    return read_licence(read_checked(copies[MODEL_CARD]).decode(errors="replace"))


def _rename_start(copies: Sequence[FileCopy], facts: CardFacts) -> dict[str, str]:
    """The adapter's configuration, naming its start instead of a folder of this machine."""
    named = {copy.name: copy for copy in copies}
    if CONFIG_FILE not in named:
        raise ValueError(
            f"{facts.run.run_id}: its adapter has no {CONFIG_FILE}; train it anew with "
            "`perpo rerun RUN --from train --force`"
        )
    settings = json.loads(read_checked(named[CONFIG_FILE]))
    settings["base_model_name_or_path"] = facts.start_name
    return {CONFIG_FILE: json.dumps(settings, indent=2) + "\n"}
