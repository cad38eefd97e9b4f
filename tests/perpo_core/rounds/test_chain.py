"""What each round is called and asked; where they begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.rounds.chain import build_round_config, name_round, read_number
from schemas.config import GenerateConfig, PolicyConfig, RefreshConfig
from schemas.train_config import TrainConfig

START, TRAINED = Path("/start"), Path("/store/checkpoint/model")


def build(number: int, max_policy_age: int = 0, seed: int = 0, **policy: str) -> RefreshConfig:
    config = RefreshConfig(
        name="digits",
        policy=PolicyConfig(**policy),
        generate=GenerateConfig(seed=seed, max_policy_age=max_policy_age),
        train=TrainConfig(seed=seed),
    )
    trained = None if number == 1 else TRAINED
    return build_round_config(config, number, START, trained)


def test_the_first_round_is_the_configured_refresh_but_for_its_name() -> None:
    config = RefreshConfig(name="digits")
    first = build_round_config(config, 1, START, None)
    assert first == config.model_copy(update={"name": "digits-r1"})


def test_later_rounds_begin_with_the_checkpoint_and_keep_where_they_began_as_their_base() -> None:
    assert build(2).policy == PolicyConfig(model=str(TRAINED), base="builtin")
    own = build(2, model="/own").policy
    assert (own.model, own.base) == (str(TRAINED), "/own")
    assert build(3, model="/own", base="/older").policy.base == "/older"


def test_promoted_is_named_by_its_folder_since_the_rounds_move_it() -> None:
    assert build(1, model="promoted").policy == PolicyConfig(model=str(START), base="builtin")
    assert build(2, model="promoted").policy == PolicyConfig(model=str(TRAINED), base="builtin")
    assert build(1, model="promoted", base="/older").policy.base == "/older"


def test_every_round_draws_anew_unless_earlier_answers_may_be_taken_over() -> None:
    on_policy = [build(number, seed=7) for number in (1, 2, 3)]
    assert [each.generate.seed for each in on_policy] == [7, 8, 9]
    assert [each.train.seed for each in on_policy] == [7, 8, 9]
    stale = [build(number, max_policy_age=1, seed=7) for number in (1, 2, 3)]
    assert [each.generate.seed for each in stale] == [7, 7, 7]
    assert [each.train.seed for each in stale] == [7, 8, 9]
    assert {each.evaluate.seed for each in (*on_policy, *stale)} == {1}


def test_seeds_stay_within_their_bounds() -> None:
    last = build(3, seed=2**31 - 1)
    assert (last.generate.seed, last.train.seed) == (1, 1)
    assert RefreshConfig.model_validate(last.model_dump()) == last


@pytest.mark.parametrize(
    ("name", "number"),
    [("digits-r1", 1), ("digits-r50", 50), ("digits-r0", None), ("digits", None),
     ("digits-r1-x", None), ("other-r1", None), ("digits-r01", None)],
)  # fmt: skip
def test_a_run_is_of_a_round_by_its_name(name: str, number: int | None) -> None:
    assert read_number("digits", name) == number
    if number is not None:
        assert name_round("digits", number) == name
