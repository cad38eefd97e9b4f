"""The files that one entry of source.files stands for: itself, those of a folder, of a hub id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from perpo_core.perception.truths.row import show_value
from schemas.sources import HUB

TABLES = (".parquet", ".arrow")
TEXTS = (".jsonl", ".ndjson", ".json")
NO_RECORDS = ("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json")
"""What `datasets` writes beside them."""


@dataclass(frozen=True)
class DataFile:
    """A file of records."""

    path: Path
    name: str
    """Relative to the folder that was named; "" where it was named itself."""


def list_data_files(place: Path) -> list[DataFile]:
    """In the order of their names. Raises ValueError where there are none."""
    folder = _find_in_hub_cache(str(place)) if str(place).startswith(HUB) else place
    if folder.is_file():
        return [DataFile(folder, "")]
    if not folder.is_dir():
        raise ValueError(f"{place}: there is no such file or folder; correct source.files")
    for suffixes in (TABLES, TEXTS):
        if found := list(_list_files(folder, suffixes)):
            return found
    raise ValueError(
        f"{place}: the folder holds none of {', '.join(TABLES + TEXTS)}; name the files"
    )


def _list_files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[DataFile]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_hidden = any(part.startswith(".") for part in name.split("/"))
        if path.suffix in suffixes and path.name not in NO_RECORDS and not is_hidden:
            yield DataFile(path, name)


def _find_in_hub_cache(place: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    name = place.removeprefix(HUB)
    try:
        return Path(snapshot_download(name, repo_type="dataset", local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ValueError(
            f"source.files: {show_value(name)} is no data set in the local hub cache; download it "
            f"first (hf download --repo-type dataset {name})"
        ) from error
