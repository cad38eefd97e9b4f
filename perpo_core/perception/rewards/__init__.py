"""Rewards by name: a file each, and a line here. Tasks list the names of those that fit them."""

from __future__ import annotations

from perpo_core.perception.rewards.anls import ANLS
from perpo_core.perception.rewards.base import (
    Accepted,
    Answers,
    Fault,
    Item,
    Question,
    Reading,
    Results,
    Reward,
    RewardResult,
    Row,
    Target,
)
from perpo_core.perception.rewards.bleu import BLEU
from perpo_core.perception.rewards.cer import CER
from perpo_core.perception.rewards.choice_letter import CHOICE_LETTER
from perpo_core.perception.rewards.chrf import CHRF
from perpo_core.perception.rewards.ciou import CIOU
from perpo_core.perception.rewards.count_accuracy import COUNT_ACCURACY
from perpo_core.perception.rewards.detection_f1 import DETECTION_F1
from perpo_core.perception.rewards.diou import DIOU
from perpo_core.perception.rewards.edit_similarity import EDIT_SIMILARITY
from perpo_core.perception.rewards.edit_similarity_words import EDIT_SIMILARITY_WORDS
from perpo_core.perception.rewards.exact_match import EXACT_MATCH
from perpo_core.perception.rewards.format import FORMAT
from perpo_core.perception.rewards.giou import GIOU
from perpo_core.perception.rewards.iou import IOU
from perpo_core.perception.rewards.iou_power import IOU_POWER
from perpo_core.perception.rewards.iou_threshold import IOU_THRESHOLD
from perpo_core.perception.rewards.json_f1 import JSON_F1
from perpo_core.perception.rewards.length_penalty import LENGTH_PENALTY
from perpo_core.perception.rewards.matched_iou import MATCHED_IOU
from perpo_core.perception.rewards.meteor import METEOR
from perpo_core.perception.rewards.number_within_tolerance import NUMBER_WITHIN_TOLERANCE
from perpo_core.perception.rewards.outside import find_outside
from perpo_core.perception.rewards.point_in_box import POINT_IN_BOX
from perpo_core.perception.rewards.pointing import POINTING
from perpo_core.perception.rewards.relaxed_number import RELAXED_NUMBER
from perpo_core.perception.rewards.teds import TEDS
from perpo_core.perception.rewards.teds_structure import TEDS_STRUCTURE
from perpo_core.perception.rewards.vqa_accuracy import VQA_ACCURACY
from perpo_core.perception.rewards.wer import WER
from perpo_core.perception.rewards.word_f1 import WORD_F1

REWARDS: dict[str, Reward] = {
    reward.name: reward
    for reward in (
        IOU,
        GIOU,
        DIOU,
        CIOU,
        IOU_POWER,
        IOU_THRESHOLD,
        POINT_IN_BOX,
        EDIT_SIMILARITY,
        EDIT_SIMILARITY_WORDS,
        CER,
        WER,
        WORD_F1,
        BLEU,
        CHRF,
        METEOR,
        COUNT_ACCURACY,
        EXACT_MATCH,
        NUMBER_WITHIN_TOLERANCE,
        POINTING,
        DETECTION_F1,
        MATCHED_IOU,
        VQA_ACCURACY,
        ANLS,
        RELAXED_NUMBER,
        CHOICE_LETTER,
        JSON_F1,
        TEDS,
        TEDS_STRUCTURE,
        FORMAT,
        LENGTH_PENALTY,
    )
}
GENERAL = (FORMAT.name, LENGTH_PENALTY.name)
"""Those that fit any task, since they read the answer alone."""


def find_reward(name: str) -> Reward | None:
    """The reward of a name, outside ones too; None where there is none."""
    return REWARDS.get(name) or find_outside(name)


__all__ = [
    "GENERAL",
    "REWARDS",
    "Accepted",
    "Answers",
    "Fault",
    "Item",
    "Question",
    "Reading",
    "Results",
    "Reward",
    "RewardResult",
    "Row",
    "Target",
    "find_reward",
]
