"""Where the smoothing of rosepo comes from: scores in a store, second rewards, a fitted slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpo_core.stages import train
from perpo_core.stages.stage import find_or_make
from perpo_core.stages.train.second_rewards import ScoredList, read_scored_lists
from perpo_core.stages.train.smoothing import settle_smoothing
from perpo_core.stages.train.smoothing_slope import (
    Opinions,
    collect_opinions,
    fit_slope,
    list_second_rewards,
)
from perpo_core.store.keys import compute_digest
from perpo_core.store.provenance import as_parents
from perpo_core.store.store import Store
from schemas.arrow import PREFERENCES, SCORES
from schemas.artifact import PreferenceSet, ScoredSet
from schemas.config import ScoreConfig
from schemas.train_config import MAX_SMOOTHING_SLOPE, TrainConfig
from tests.perpo_core.small_store import common_fields, read_rows
from tests.perpo_core.stages.train.training import NUM_LISTS, TRAIN, build_trainer, read_points

ROSEPO = TRAIN | {"objective": "rosepo", "pairs": "all", "epochs": 1, "eval_every_steps": 10}
BY_COLUMN = ROSEPO | {"smoothing": "column", "smoothing_column": "giou"}
TWO = {"grounding": {"reward": {"iou": 1.0, "giou": 0.0}}}
SECONDS = (0.25, 0.5, 0.75, 1.0)  # of a list's answers, the best first: all the other way round
SOME = (1.0, 0.25, 0.5, 0.0)  # only the two in the middle are


# Fitted


def fit(*gaps: float) -> float:
    return fit_slope(Opinions(np.array(gaps, np.float32), frozenset({"giou"})))


def test_by_hand():
    assert fit(1, 1, 1, -1) == pytest.approx(math.log(3), abs=1e-9)
    assert fit(*[0.5] * 9, -0.5) == pytest.approx(2 * math.log(9), abs=1e-9)
    assert fit(0.2, 0.4) == MAX_SMOOTHING_SLOPE, "none is turned round"


def test_the_slope_that_reversals_were_drawn_from_is_found():
    random = np.random.default_rng(0)
    gaps = random.uniform(0, 1, 50_000)
    turned = random.uniform(0, 1, 50_000) < 1 / (1 + np.exp(4.0 * gaps))
    assert fit(*np.where(turned, -gaps, gaps)) == pytest.approx(4.0, abs=0.1)


def test_the_likelihood_is_highest_at_it():
    gaps = np.array([0.9, 0.5, 0.4, 0.2, -0.1, -0.3])
    at = fit(*gaps)
    nearby = [np.log1p(np.exp(-slope * gaps)).sum() for slope in (at - 0.01, at, at + 0.01)]
    assert nearby[1] < min(nearby[0], nearby[2])


def test_where_no_gap_can_be_trusted_nothing_is_fitted():
    with pytest.raises(ValueError, match=r"giou turn round 50\.0% of 2 pairs, .*smoothing_slope"):
        fit(0.5, -0.5)
    with pytest.raises(ValueError, match=r"no second reward tells two answers .*smoothing_slope"):
        fit()


# Opinions


def build_list(task: str, totals: Sequence[float], **rewards: Sequence[float]) -> ScoredList:
    rows = [
        dict(zip(rewards, values, strict=True)) for values in zip(*rewards.values(), strict=True)
    ]
    return ScoredList("one", task, list(totals), rows)


def test_opinions_by_hand():
    """Of (0,1), (0,2), (1,2) the second one is silent on (0,1) and turns (1,2) round."""
    score = ScoreConfig.model_validate(TWO)
    answers = build_list("grounding", [0.9, 0.5, 0.1], iou=[0.9, 0.5, 0.1], giou=[0.4, 0.4, 0.6])
    opinions = collect_opinions([answers], score)
    assert sorted(opinions.gaps_N.tolist()) == pytest.approx([-0.8, -0.4])
    again = replace(answers, rewards_G=[{"iou": 0.9, "giou": g} for g in (0.8, 0.4, 0.6)])
    both = collect_opinions([answers, again], score)
    assert sorted(both.gaps_N.tolist()) == pytest.approx([-0.8, -0.4, -0.4, 0.4, 0.8])
    assert both.names == {"giou"} and both.share_reversed == 0.6


def test_answers_of_equal_totals_are_no_pair():
    answers = build_list("grounding", [0.5, 0.5], iou=[0.5, 0.5], giou=[0.1, 0.9])
    assert not len(collect_opinions([answers], ScoreConfig.model_validate(TWO)).gaps_N)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("iou", {}),
        ({"reward": {"iou": 1.0}}, {}),
        ({"reward": {"iou": 1.0, "giou": 0.0}}, {"giou": 1}),
        ({"reward": {"iou": 1.0, "giou": 0.5}}, {"iou": 1, "giou": 1}),
        ({"reward": {"iou": 1.0, "length_penalty": -0.5}}, {"iou": 1, "length_penalty": -1}),
    ],
)
def test_what_counts_as_a_second_reward(choice, expected):
    score = ScoreConfig.model_validate({"grounding": choice})
    assert list_second_rewards(score, "grounding") == expected


# In the store


@pytest.fixture
def score_lists(trainable, tmp_path) -> Any:
    """Of second rewards by rank: (context, samples, lists that name their scores), a store each."""

    def make(seconds: Sequence[float]) -> Any:
        context, samples, preferences = trainable
        root = tmp_path / "-".join(map(str, seconds))
        root.mkdir()
        (root / "samples").symlink_to(context.store.root / "samples")
        rows = read_rows(context.store, preferences)
        for row in rows:
            for answer in row["responses"]:
                answer["candidate_hash"] = f"{row['sample_id'][:8]}-{answer['index']}"
        store = Store(root)
        lists = commit(store, samples, rows, seconds)
        return replace(context, store=store), samples, lists

    return make


@pytest.fixture
def scored(score_lists) -> Any:
    """The second reward turns every pair round."""
    return score_lists(SECONDS)


def commit(
    store: Store, samples: Any, rows: list[dict[str, Any]], seconds: Sequence[float]
) -> PreferenceSet:
    scores = [
        {
            "sample_id": row["sample_id"], "prompt_id": row["prompt_id"], "task": row["task"],
            "index": answer["index"], "candidate_hash": answer["candidate_hash"],
            "reward": answer["reward"],
            "rewards": [("iou", answer["reward"]), ("giou", seconds[answer["index"]])],
        }
        for row in reversed(rows) for answer in reversed(row["responses"])
    ]  # fmt: skip
    files = [write(store, "scores", "e", pa.Table.from_pylist(scores, schema=SCORES))]
    fields = common_fields("score", "scores", len(scores), files) | {"key": "e" * 64}
    scored = store.commit(ScoredSet(**fields, mean_reward={}))
    files = [write(store, "preferences", "d", pa.Table.from_pylist(rows, schema=PREFERENCES))]
    fields = common_fields("materialize", "preferences", len(rows), files)
    fields |= {"key": "d" * 64, "parents": as_parents(samples, scored)}
    fields["digest"] = compute_digest(files)
    lists = {"num_lists": {"grounding": len(rows)}, "mean_list_size": 3}
    return store.commit(PreferenceSet(**fields, **lists))


def write(store: Store, kind: str, letter: str, table: pa.Table) -> Any:
    return store.open_workspace(kind, letter * 64).write_table("part-00000.parquet", table)


def configure(context: Any, **sections: Any) -> Any:
    config = context.config
    changes: dict[str, Any] = {"train": TrainConfig(**sections.get("train", ROSEPO))}
    changes["score"] = ScoreConfig.model_validate(sections.get("score", TWO))
    return replace(context, config=config.model_copy(update=changes))


def test_every_answer_finds_its_rewards_whatever_the_order_of_the_scores(scored):
    context, _, preferences = scored
    [path] = context.store.paths(preferences)
    found = list(read_scored_lists([path], context.store.paths(context.store.load(
        "scores", "e" * 64))))  # fmt: skip
    assert len(found) == NUM_LISTS
    for each, row in zip(found, pq.read_table(path).to_pylist(), strict=True):
        assert each.sample_id == row["sample_id"]
        assert [rewards["iou"] for rewards in each.rewards_G] == each.totals_G
        assert [rewards["giou"] for rewards in each.rewards_G] == list(
            SECONDS[: len(each.totals_G)]
        )


def test_a_slope_is_fitted_and_said_before_the_training(score_lists):
    said: list[str] = []
    context, _, preferences = score_lists(SOME)
    context = replace(configure(context), log=said.append)
    config, inputs = settle_smoothing(context, preferences)
    slope = config.train.smoothing_slope
    assert slope is not None and slope > 0 and inputs == {}
    assert config.model_copy(update={"train": context.config.train}) == context.config
    [line] = said
    assert line.startswith("smoothing: giou turn round ") and f"slope {slope:.4g}" in line


def test_rewards_that_turn_everything_round_are_refused(scored):
    context, _, preferences = scored
    with pytest.raises(ValueError, match=r"giou turn round 100\.0% of \d+ pairs"):
        settle_smoothing(configure(context), preferences)


def test_what_needs_no_scores_reads_none(scored):
    context, _, preferences = scored
    for changes in ({"smoothing_slope": 3.0}, {"objective": "dpo"}):
        asked = configure(context, train=ROSEPO | changes)
        bare = preferences.model_copy(update={"parents": []})
        assert settle_smoothing(asked, bare) == (asked.config, {})


def test_scores_that_are_gone_or_others_are_refused(scored):
    context, _, preferences = scored
    with pytest.raises(ValueError, match="do not say which scores"):
        settle_smoothing(configure(context), preferences.model_copy(update={"parents": []}))
    parents = [parent.model_copy(update={"digest": "0" * 64}) for parent in preferences.parents]
    other = preferences.model_copy(update={"parents": parents})
    with pytest.raises(ValueError, match="are gone or were made anew; run again from score"):
        settle_smoothing(configure(context), other)


def test_one_reward_is_no_second_one(scored):
    context, _, preferences = scored
    with pytest.raises(ValueError, match=r"no second reward .*or set train\.smoothing_slope"):
        settle_smoothing(configure(context, score={}), preferences)


def test_the_key_names_the_scores_where_they_are_read(scored):
    context, samples, preferences = scored
    parents = [parent.model_copy(update={"digest": "0" * 64}) for parent in preferences.parents]
    other = preferences.model_copy(update={"parents": parents})

    def key_of(lists: PreferenceSet, **changes: Any) -> str:
        asked = configure(context, train=ROSEPO | changes)
        return train.compute_key(asked.config, context.policy, samples, lists)

    assert key_of(preferences) != key_of(other)
    column = {"smoothing": "column", "smoothing_column": "giou"}
    assert key_of(preferences, **column) != key_of(other, **column)
    assert key_of(preferences, **column) != key_of(preferences, **column | {
        "smoothing_column": "iou"})  # fmt: skip
    for changes in ({"smoothing_slope": 3.0}, {"objective": "dpo"}):
        assert key_of(preferences, **changes) == key_of(other, **changes)
    dpo = {"objective": "dpo"}
    assert key_of(preferences, **dpo) == key_of(preferences, **dpo, **column, smoothing_slope=2.0)


# On their way to the loss


@pytest.mark.usefixtures("training_events")
def test_training_by_a_column(scored, tmp_path):
    """The first loss is ln 2 whatever the doubt; what is doubted wholly is turned round."""
    context, samples, preferences = scored
    asked = configure(context, train=BY_COLUMN)
    setting = (asked, samples, preferences)
    _, inputs = settle_smoothing(asked, preferences)
    trainer = build_trainer(setting, tmp_path / "work", inputs=inputs, **BY_COLUMN)
    ranked = trainer.train_dataset[2]
    assert ranked.columns_G == {"smoothing_PG": list(SECONDS)}
    trainer.train()
    losses = [point["loss"] for point in read_points(trainer)]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5) and losses[-1] != losses[0]


@pytest.mark.usefixtures("training_events")
@pytest.mark.parametrize(
    ("column", "seconds", "sentence"),
    [
        ("own:doubt", SECONDS, r"own:doubt: sample \w+ has no such reward; name it in score\.g"),
        ("giou", (0.5, -0.5, 0.5, 0.5), r"giou is -0\.5 for an answer to sample \w+, and has to"),
    ],
)
def test_a_column_that_is_no_probability_is_refused(
    score_lists, tmp_path, column, seconds, sentence
):
    context, samples, preferences = score_lists(seconds)
    settings = BY_COLUMN | {"smoothing_column": column}
    asked = configure(context, train=settings)
    _, inputs = settle_smoothing(asked, preferences)
    with pytest.raises(ValueError, match=sentence):
        build_trainer((asked, samples, preferences), tmp_path / "work", inputs=inputs, **settings)


@pytest.mark.usefixtures("training_events")
def test_the_stage_trains_with_the_fitted_slope(score_lists, tmp_path):
    """The whole stage, child included, gives the losses of a training with that slope given."""
    context, samples, preferences = score_lists(SOME)
    asked = configure(context)
    made = find_or_make(asked, train, samples, preferences).artifact
    slope = settle_smoothing(asked, preferences)[0].train.smoothing_slope
    settings = ROSEPO | {"smoothing_slope": slope}
    trainer = build_trainer((context, samples, preferences), tmp_path / "work", **settings)
    trainer.train()
    expected = [point["loss"] for point in read_points(trainer)]
    assert len(expected) == 2 and expected[0] == pytest.approx(math.log(2), abs=1e-5)
    assert [point.loss for point in made.history] == pytest.approx(expected, rel=1e-4)
