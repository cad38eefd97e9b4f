"""`perpo rounds`: what is refused before anything is begun."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.commands.cli import app


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rounds", "0"], "greater than or equal to 1"),
        (["--rounds", "51"], "less than or equal to 50"),
        (["--set", "promote.enabled=false"], "no round would be promoted"),
        (["--set", f"name={'a' * 60}"], "has more than 59 characters"),
    ],
)
def test_errors_are_one_sentence_before_anything_is_begun(
    tmp_path: Path, words: list[str], said: str
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'store = "{tmp_path / "store"}"\n')
    result = CliRunner().invoke(app, ["rounds", str(path), *words], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "store").exists()
