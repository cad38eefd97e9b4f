"""From log-probabilities under start and trained to KL and to the truths' likelihood.

KL(trained || start) = E over y ~ trained of [log trained(y|x) - log start(y|x)] is estimated by the
mean of that difference over sampled answers, prompts weighing alike: unbiased where they were
sampled at temperature 1 from the whole distribution. Of an answer that was cut off the difference
is that of its tokens so far: what is estimated then is the KL of answers of at most
generate.max_tokens tokens.

A single difference may be below 0, and a mean of few too; the KL itself is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from perpo_core.evidence.drift.rows import CUT_OFF, Row
from perpo_core.evidence.resampling import Values, find_interval, resample_means
from perpo_core.stages.evaluate.statistics import compare_paired
from schemas.artifact import Interval, Metric, TaskDrift

Logps = Mapping[str, Sequence[float]]
"""sample_id -> log-probabilities of the answers to it, nats."""


def compute_task(
    answered: Sequence[tuple[Row, Sequence[Row]]],
    answers: tuple[Logps, Logps],
    written: Sequence[Row],
    truths: tuple[Logps, Logps],
    resamples: int,
    seed: int,
) -> TaskDrift:
    """Of the prompts of one task.

    `answered`: a prompt's sample and its answers; `written`: samples whose truth was asked about.
    Pairs are of start and trained.
    """
    start, trained = answers
    images = [sample["image_id"] for sample, _ in answered]
    ids = [sample["sample_id"] for sample, _ in answered]
    kl_P = np.array([np.subtract(trained[i], start[i]).mean() for i in ids])
    tokens_P = np.array([np.mean([len(a["token_ids"]) for a in rows]) for _, rows in answered])
    each = [answer for _, rows in answered for answer in rows]
    kl, per_token = compute_intervals(kl_P, tokens_P, images, resamples, seed)
    return TaskDrift(
        kl_nats=kl,
        kl_nats_per_token=per_token,
        num_prompts=len(ids),
        num_answers=len(each),
        num_cut_off=sum(answer["finish_reason"] == CUT_OFF for answer in each),
        truth_logp=_compare_truths(written, truths, resamples, seed),
    )


def compute_intervals(
    kl_P: Values, tokens_P: Values, images_P: Sequence[str], resamples: int, seed: int
) -> tuple[Interval, Interval]:
    """An answer's and a token's KL, nats; images are resampled with all their prompts."""
    kl_R, tokens_R = resample_means([kl_P[None], tokens_P[None]], images_P, resamples, seed)
    low, high = find_interval(kl_R)
    low_per_token, high_per_token = find_interval(kl_R / tokens_R)
    kl, tokens = float(kl_P.mean()), float(tokens_P.mean())
    return (
        Interval(value=kl, low=low, high=high),
        Interval(value=kl / tokens, low=low_per_token, high=high_per_token),
    )


def _compare_truths(
    written: Sequence[Row], truths: tuple[Logps, Logps], resamples: int, seed: int
) -> Metric | None:
    if not written:
        return None
    start_P, trained_P = ([logps[row["sample_id"]][0] for row in written] for logps in truths)
    images = [row["image_id"] for row in written]
    return compare_paired(start_P, trained_P, images, resamples, seed)
