"""What can be wrong before anything is asked: one sentence each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perpo_core.judge_tuning import build_writer, check_target, find_judge
from perpo_core.perception.rewards.outside import JudgeOptions
from schemas.config import RefreshConfig, ScoreConfig
from tests.perpo_core.sentences import check_sentence


def build_score(**modes: str) -> ScoreConfig:
    """Task = mode of its judge."""
    tasks = {
        task: {"reward": "judge", "options": {"judge": {
            "model": "m", "instruction": "judge.txt", "mode": mode,
        }}}
        for task, mode in modes.items()
    }  # fmt: skip
    return RefreshConfig.model_validate({"score": tasks}).score


def refuse(call: Any, *given: Any) -> str:
    with pytest.raises(ValueError) as refused:
        call(*given)
    return str(refused.value)


def test_the_only_judge_of_pairs_is_found() -> None:
    task, options = find_judge(build_score(counting="order", ocr="score"))
    assert task == "counting" and options.mode == "order"
    assert find_judge(build_score(counting="order", ocr="order"), "ocr")[0] == "ocr"


def test_where_there_is_no_judge_to_tune_it_says_so() -> None:
    check_sentence(refuse(find_judge, build_score()), "no task of [score] has a judge")
    check_sentence(
        refuse(find_judge, build_score(ocr="order"), "counting"), "score.counting has no judge"
    )
    check_sentence(
        refuse(find_judge, build_score(ocr="score")), 'score.ocr.options.judge.mode is "'
    )
    both = refuse(find_judge, build_score(ocr="order", counting="order"))
    check_sentence(both, "ocr", "counting", "--task")


JUDGE = JudgeOptions(
    model="m", instruction=Path("judge.txt"), base_url="http://127.0.0.1:1/v1", api_key_env="KEY",
    max_tokens=16, extra={"guided": True}, max_calls=50, mode="order",
)  # fmt: skip


def test_the_writer_is_the_judges_server_with_settings_of_its_own() -> None:
    writer = build_writer(JUDGE, {})
    assert (writer.base_url, writer.model, writer.api_key_env) == (JUDGE.base_url, "m", "KEY")
    assert (writer.temperature, writer.max_tokens, writer.extra) == (0.9, 1024, {})
    assert build_writer(JUDGE, {"base_url": JUDGE.base_url + "/"}).api_key_env == "KEY"
    other = {"base_url": "http://127.0.0.1:2/v1"}
    assert build_writer(JUDGE, other).api_key_env is None
    assert build_writer(JUDGE, {**other, "api_key_env": "OTHER"}).api_key_env == "OTHER"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"temprature": 1}, ["--writer.temprature", "did you mean --writer.temperature?"]),
        ({"max_calls": 5}, ["unknown key --writer.max_calls"]),
        ({"temperature": 9}, ["--writer.temperature = 9 is not allowed", "<= 2"]),
        ({"base_url": "ftp://x"}, ["--writer.base_url = (not shown) is not allowed"]),
        ({"extra": {"messages": []}}, ["--writer.extra", "messages is not for this table"]),
        ({"extra": 5}, ["--writer.extra"]),
    ],
)
def test_a_wrong_option_of_the_writer_is_named(given: dict[str, Any], words: list[str]) -> None:
    check_sentence(refuse(build_writer, JUDGE, given), *words)


def test_nothing_is_replaced_that_nobody_named(tmp_path: Path) -> None:
    in_use, other = tmp_path / "judge.txt", tmp_path / "other.txt"
    in_use.write_text("Judge.")
    check_target(tmp_path / "new" / "fair.txt", in_use, overwrite=False)
    assert not (tmp_path / "new").exists()
    said = refuse(check_target, in_use, in_use, False)
    check_sentence(said, "judge.txt is the instruction in use", "--overwrite")
    other.write_text("Mine.")
    check_sentence(refuse(check_target, other, in_use, False), "other.txt is already there")
    (tmp_path / "fair.txt.json").write_text("{}")
    check_sentence(refuse(check_target, tmp_path / "fair.txt", in_use, False), "fair.txt.json")
    link = tmp_path / "link.txt"
    link.symlink_to(in_use)
    check_sentence(refuse(check_target, link, in_use, False), "the instruction in use")
    for path in (in_use, other, tmp_path / "fair.txt"):
        check_target(path, in_use, overwrite=True)


def test_what_cannot_be_written_is_said_before_any_call(tmp_path: Path) -> None:
    in_use = tmp_path / "judge.txt"
    in_use.write_text("Judge.")
    said = refuse(check_target, tmp_path / "judge.txt" / "fair.txt", in_use, False)
    check_sentence(said, "it is a file")
    (tmp_path / "folder").mkdir()
    for overwrite in (False, True):
        said = refuse(check_target, tmp_path / "folder", in_use, overwrite)
        check_sentence(said, "is a folder; name a file")
