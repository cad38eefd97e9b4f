"""`perpo export`: from a run in a store to a folder with weights, processor and model card."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from perpo_core.export.card import build_card
from perpo_core.export.facts import MODEL_CARD, CardFacts
from perpo_core.export.folder import FileCopy, check_target, read_checked, write_folder
from perpo_core.export.licence import read_licence
from perpo_core.export.origin import find_origin
from perpo_core.promotion.pointer import MODEL_FOLDER
from perpo_core.report.choice import describe_choice
from perpo_core.report.load import load_artifacts
from perpo_core.store.store import DamagedArtifact, Store
from schemas.artifact import Checkpoint
from schemas.run import RunRecord

ADAPTER_FOLDER = "adapter"  # of a checkpoint artifact
ADAPTER_CONFIG = "adapter_config.json"


def export_run(
    store: Store,
    run: RunRecord,
    records: Sequence[RunRecord],
    folder: Path,
    adapter: bool,
    log: Callable[[str], None],
) -> Path:
    """Write the run's merged model, or its adapter, with a card; returns where it lies.

    `records` are all runs of the store: a start that was "promoted" is named by the run that made
    it. Raises ValueError, one sentence, where there is nothing to export or no place for it.
    """
    target = Path(os.path.realpath(folder.expanduser()))
    check_target(target, num_bytes=0)  # before anything is read
    facts = load_facts(store, run, records, adapter)
    if facts.is_start_kept:
        log(f"{run.run_id} kept its start (chosen step 0): these are the weights it started from")
    copies = list_copies(store, facts.checkpoint, ADAPTER_FOLDER if adapter else MODEL_FOLDER)
    texts = {MODEL_CARD: build_card(facts)}
    if adapter:
        texts |= _rename_start(copies, facts)
    write_folder(target, copies, texts)
    return target


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
    return CardFacts(run, artifacts, checkpoint, origin, adapter, _load_licence(store, checkpoint))


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
    elif not any(file.path.startswith(f"{ADAPTER_FOLDER}/") for file in checkpoint.files):
        why = f"its checkpoint holds no {ADAPTER_FOLDER} folder"
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
    if ADAPTER_CONFIG not in named:
        raise ValueError(
            f"{facts.run.run_id}: its adapter has no {ADAPTER_CONFIG}; train it anew with "
            "`perpo rerun RUN --from train --force`"
        )
    settings = json.loads(read_checked(named[ADAPTER_CONFIG]))
    settings["base_model_name_or_path"] = facts.start_name
    return {ADAPTER_CONFIG: json.dumps(settings, indent=2) + "\n"}
