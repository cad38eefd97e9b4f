"""Outside rewards in a configuration: found beside it, and what is wrong said in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.configuration.load import ConfigError, load_config
from schemas.task_reward import TaskReward

JUDGE = '[score.counting]\nreward = "judge"\n[score.counting.options.judge]\nmodel = "m"\n'
INSTRUCTION = 'instruction = "judge.txt"\n'


def write(folder: Path, text: str) -> Path:
    (folder / "mine.py").write_text("import os\ndef rate(completions): ...\n")
    (folder / "broken.py").write_text("def rate(:\n")
    (folder / "judge.txt").write_text("Judge.")
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_files_are_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    text = JUDGE + INSTRUCTION + '[score.ocr]\nreward = { "mine:rate" = 1.0 }\n'
    score = load_config(write(tmp_path, text)).score
    assert score.reward_folder == tmp_path
    assert isinstance(score.counting, TaskReward)
    assert score.counting.options["judge"]["instruction"] == str(tmp_path / "judge.txt")
    assert load_config(write(tmp_path, "")).score.reward_folder is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[score]\nocr = "mine:"', '"mine:" is not "MODULE:FUNCTION", such as "my_module:my'),
        ('[score]\nocr = "my-file:rate"', '"my-file:rate" is not "MODULE:FUNCTION"'),
        ('[score]\nocr = "nobody_has_it:rate"', "there is no module nobody_has_it, neither nob"),
        ('[score]\nocr = "mine:rat"', "has no function rat; it has os, rate"),
        ('[score]\nocr = "broken:rate"', "broken.py, line 1: invalid syntax; correct that line"),
        (
            JUDGE.replace("model", "instruction"),
            "score.counting.options.judge.model is missing; judge wants it",
        ),
        (JUDGE, "score.counting.options.judge.instruction is missing; judge wants it"),
        (JUDGE + INSTRUCTION + 'base_url = "127.0.0.1:80"', "has to be such as http://127.0.0.1"),
        (JUDGE + INSTRUCTION + "lowest = 10", "lowest 10 has to be below highest 10; correct"),
        (JUDGE + INSTRUCTION + 'mode = "rank"', 'mode = "rank" is not allowed; allowed: "score"'),
        (JUDGE + INSTRUCTION + "retries = -1", "retries = -1 is not allowed; allowed: a whole n"),
        (JUDGE + INSTRUCTION + "extra = { model = 1 }", "model is not for this table; remove it"),
        (JUDGE + INSTRUCTION + "tries = 2", "unknown key score.counting.options.judge.tries; did"),
        (
            '[score.ocr]\nreward = "mine:rate"\n[score.ocr.options."mine:rate"]\nlow = 2',
            "low 2 has to be below high 1; correct them",
        ),
        (
            '[score.ocr]\nreward = "mine:rate"\n[score.ocr.options."mine:rate"]\ntimeout_s = 0',
            "timeout_s = 0 is not allowed; allowed: a number > 0",
        ),
    ],
)
def test_one_sentence_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(tmp_path, text))
    [problem] = error.value.problems
    assert problem.startswith(str(tmp_path / "run.toml")) and said in problem


def test_a_key_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    for line in ('api_key_env = "sk-secret-1"', 'base_url = "http://u:sk-secret-1@h/v1"'):
        with pytest.raises(ConfigError) as error:
            load_config(write(tmp_path, JUDGE + INSTRUCTION + line))
        assert "sk-secret-1" not in str(error.value)
