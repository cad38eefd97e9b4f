"""Benchmarks in a configuration file: where they are started, and gates that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.configuration.fields import describe_config
from perpo_core.configuration.load import ConfigError, load_config, override_config
from perpo_core.doctor.settings import check_settings

TEXT = """
[evaluate.benchmarks.pope]
command = ["python", "-m", "lmms_eval", "--model_args", "model={model}",
  "--output_path", "{output}"]
format = "lmms-eval"
metrics = { "pope/pope_accuracy" = "higher" }
[promote]
max_loss_benchmarks = { pope = { "pope/pope_accuracy" = 0.01 } }
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_a_command_is_started_where_the_file_lies(tmp_path):
    config = load_config(write(tmp_path, TEXT))
    assert config.evaluate.benchmarks["pope"].folder == tmp_path
    named = TEXT.replace("format", 'folder = "there"\nformat')
    assert load_config(write(tmp_path, named)).evaluate.benchmarks["pope"].folder == (
        tmp_path / "there"
    )
    again = override_config(config, ["train.beta=0.2"])
    assert again.evaluate.benchmarks == config.evaluate.benchmarks


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("{ pope = {", "{ popes = {", r"max_loss_benchmarks.popes; did you mean .*\.pope\?"),
        ('{ "pope/pope_accuracy" = 0.01', '{ "pope/accuracy" = 0.01',
         r"max_loss_benchmarks.pope.pope/accuracy; did you mean .*pope/pope_accuracy\?"),
        ("{output}", "out", "evaluate.benchmarks.pope: command does not name the folder of its"),
        ('"lmms-eval"', '"lmms"', 'format = "lmms" is not allowed; allowed: "lmms-eval" or'),
        ('"higher"', '"up"', 'pope/pope_accuracy = "up" is not allowed; .*"higher" or "lower"'),
        ("benchmarks.pope]", "benchmarks.POPE]", "unknown key evaluate.benchmarks.POPE|matches"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, old, new, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_config(write(tmp_path, TEXT.replace(old, new, 1)))
    assert all("\n" not in problem for problem in caught.value.problems)


def test_every_setting_of_a_benchmark_is_described():
    fields = {f.key: f for f in describe_config() if f.key.startswith("evaluate.benchmarks.KEY.")}
    names = {key.rpartition(".")[2] for key in fields}
    assert {"command", "format", "metrics", "settings", "env", "timeout_s"} <= names
    assert all(field.description for field in fields.values())


def test_the_doctor_misses_the_program(tmp_path):
    wrong = load_config(write(tmp_path, TEXT.replace('"python"', '"no-such-python"')))
    [error] = [f for f in check_settings(wrong) if f.level == "error"]
    assert "there is no program no-such-python" in error.what
    assert not [f for f in check_settings(load_config(write(tmp_path, TEXT))) if f.level == "error"]
