"""`perpo export`: the folder is the last line, what went wrong is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner, Result

from flows.commands.cli import app
from flows.runs.records import write_record
from tests.perpo_core.export.exportable import with_checkpoint
from tests.perpo_core.report.report_fixture import build_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one run that kept its start."""
    opened, run = build_run(tmp_path_factory.mktemp("store"))
    write_record(opened, with_checkpoint(opened, run, {"model/config.json": b"{}"}, chosen_step=0))
    return opened.root


def export(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments, "--store", str(store)])


def test_the_folder_is_the_last_line_and_a_kept_start_the_line_before(store, tmp_path) -> None:
    done = export(store, "latest", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    said, folder = done.stdout.splitlines()
    assert said.startswith("digits-20250314-092600 kept its start")
    assert ModelCard.load(Path(folder) / "README.md").data.base_model == "builtin"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["latest", "{folder}", "--adapter"], "has no adapter to export: it kept its start"),
        (["latest", "{folder}/.."], "is not empty; name a folder that does not exist yet"),
        (["a-run", "{folder}"], "there is no run 'a-run'"),
    ],
)
def test_errors_are_one_sentence(arguments, said, store, tmp_path) -> None:
    (tmp_path / "beside").touch()
    done = export(store, *[part.format(folder=tmp_path / "out") for part in arguments])
    assert done.exit_code == 2
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["beside"]
