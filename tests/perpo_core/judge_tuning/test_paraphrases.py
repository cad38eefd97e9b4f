"""What a paraphrase has to keep, and what of a reply is one."""

from __future__ import annotations

import pytest

from perpo_core.judge_tuning.paraphrases import (
    ask_paraphrase,
    find_fixed,
    read_paraphrases,
)
from perpo_core.perception.rewards.outside import JudgeOptions
from perpo_core.stages.outside.server import Reply
from tests.perpo_core.sentences import check_sentence


def build_options(**given: object) -> JudgeOptions:
    return JudgeOptions.model_validate({"model": "m", "instruction": "judge.txt", **given})


@pytest.mark.parametrize(
    ("instruction", "fixed"),
    [
        ("Say which is better.", []),
        ("Of {first} and {{ second }}, {first} counts.", ["{first}", "{{ second }}"]),
        ("Think in <think></think> first.", ["<think>", "</think>"]),
        ('End with "Better: A" or "Better: tie".', ["Better: A", "Better: tie"]),
        ("A < B, {} and { } are no placeholders, and 3 > 2.", []),
    ],
)
def test_what_has_a_meaning_of_its_own_is_found(instruction: str, fixed: list[str]) -> None:
    assert find_fixed(instruction) == fixed


def test_words_of_ones_own_are_kept_too() -> None:
    assert find_fixed("Judge {it} by IoU.", ["IoU", "{it}"]) == ["{it}", "IoU"]
    with pytest.raises(ValueError) as refused:
        find_fixed("Judge by IoU.", ["accuracy"])
    check_sentence(str(refused.value), "--keep 'accuracy'")


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("<instruction>Be fair to {it}.</instruction>", "Be fair to {it}.\n"),
        ("Sure!\n<Instruction>\n Two\nof {it}. \n</Instruction>\nDone.", "Two\nof {it}.\n"),
        ("<instruction>{it}?</instruction></think>\n<instruction>{it}!</instruction>", "{it}!\n"),
        ("<instruction>Be fair to {it}, cut off", "no instruction in the reply"),
        ("Be fair to {it}.", "no instruction in the reply"),
        ("<instruction> </instruction>", "no instruction in the reply"),
        ("<instruction>Be fair.</instruction>", "lost {it}"),
        ("<instruction>Judge  {it}\nnow.</instruction>", "said before"),
        (None, "no reply"),
    ],
)  # fmt: skip
def test_what_of_a_reply_is_a_paraphrase(reply: str | None, found: str) -> None:
    made = read_paraphrases([Reply(reply)], ["{it}"], ["Judge {it} now.\n"])
    if found.endswith("\n"):
        assert made.instructions == [found] and not made.dropped
    else:
        assert not made.instructions and made.dropped == {found: 1}


def test_the_same_twice_is_compared_once() -> None:
    replies = [Reply(f"<instruction>{text}</instruction>") for text in ("a", "b", " a ", "c")]
    made = read_paraphrases(replies, [], [])
    assert made.instructions == ["a\n", "b\n", "c\n"] and made.dropped == {"said before": 1}


def test_the_request_names_what_is_to_stay_and_has_a_seed_of_its_own() -> None:
    options = build_options(temperature=0.9)
    asked = [ask_paraphrase("Judge {it}.", ["{it}"], options, 0, f"1/{n}") for n in range(3)]
    bodies = [each.build_body() for each in asked]
    assert len({each.digest for each in asked}) == len({body["seed"] for body in bodies}) == 3
    [message] = bodies[0]["messages"]
    assert "letter by letter: {it}." in message["content"]
    assert message["content"].count("Judge {it}.") == 1
    plain = ask_paraphrase("Judge.", [], options, 0, "1/0").build_body()
    assert "letter by letter" not in plain["messages"][0]["content"]


def test_a_seed_of_ones_own_goes_first_and_numbers_still_tell_replies_apart() -> None:
    options = build_options(extra={"seed": 7})
    asked = [ask_paraphrase("Judge.", [], options, 0, number) for number in ("1/0", "1/1")]
    assert [each.build_body()["seed"] for each in asked] == [7, 7]
    assert asked[0].digest != asked[1].digest
