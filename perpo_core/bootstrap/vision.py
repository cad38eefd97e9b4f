"""First stage of the bootstrap: teach the vision tower where digits are and which.

Every patch predicts the digit whose centre lies in it (ten values or none) and that digit's box,
relative to the patch and in the whole scene: a dense loss on clean labels, whose head gives the
connector its start (perpo_core.bootstrap.start). Without it the language-model loss alone needs
many times as many scenes before the tower sees anything. Real vision-language models start from a
pretrained tower for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, smooth_l1_loss
from torch.utils.data import DataLoader, Dataset

from perpo_core.bootstrap.model import IMAGE_SIDE, PATCH_SIDE
from perpo_core.stages.collect.sources.digits import SIDE, Placed, compose_scene

GRID = IMAGE_SIDE // PATCH_SIDE  # patches along an edge
CELL = SIDE / GRID  # pixels of a scene under one patch
NO_DIGIT = 10  # class of a patch without a digit's centre
NO_DIGIT_WEIGHT = 0.2  # most patches have none
BOX_WEIGHT = 4.0  # brings the box loss to the size of the class loss
BOX_BETA = 0.1  # where smooth L1 turns from squared to absolute
LOG_EVERY = 100


def find_patch(digit: Placed) -> int:
    """The patch that holds a digit's centre, counted row by row."""
    column, row = (int(value // CELL) for value in digit.centre)
    return row * GRID + column


class DenseScenes(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """(pixels [3, H, W], class of each patch [GRID^2], boxes of each patch [GRID^2, 8]).

    The first four numbers are the digit's box relative to the patch's middle, in units of two
    patches; the others are the same box in 0-1 of the scene, the form in which answers state it.
    """

    def __init__(self, num_scenes: int, seed: int, image_processor: Any) -> None:
        self._num_scenes = num_scenes
        self._seed = seed
        self._image_processor = image_processor

    def __len__(self) -> int:
        return self._num_scenes

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        task = ("grounding", "ocr")[index % 2]
        scene = compose_scene("train", task, index, self._seed)  # type: ignore[arg-type]
        classes = torch.full((GRID**2,), NO_DIGIT)
        boxes = torch.zeros(GRID**2, 8)
        for digit in scene.placed:
            patch = find_patch(digit)
            middle = torch.tensor([patch % GRID + 0.5, patch // GRID + 0.5] * 2) * CELL
            classes[patch] = digit.value
            box = torch.tensor(digit.box)
            boxes[patch] = torch.cat([(box - middle) / (2 * CELL), box / SIDE])
        pixels = self._image_processor([[scene.image]], return_tensors="pt")["pixel_values"]
        return pixels[0, 0], classes, boxes


def pretrain_vision(
    tower: nn.Module,
    image_processor: Any,
    *,
    steps: int,
    batch_scenes: int,
    learning_rate: float,
    seed: int,
    report: Callable[[int, dict[str, float]], None],
) -> nn.Linear:
    """Train the tower in place and return its head; reports losses every LOG_EVERY steps."""
    head = nn.Linear(tower.config.hidden_size, NO_DIGIT + 1 + 8)  # type: ignore[union-attr,arg-type]
    parameters = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.02
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=0.1, anneal_strategy="linear"
    )
    scenes = DenseScenes(steps * batch_scenes, seed, image_processor)
    for step, (pixels, classes, boxes) in enumerate(DataLoader(scenes, batch_scenes), 1):
        loss, metrics = compute_dense_loss(head(tower(pixels).last_hidden_state), classes, boxes)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % LOG_EVERY == 0 or step == steps:
            report(step, metrics)
    return head


def compute_dense_loss(
    outputs: Tensor, classes: Tensor, boxes: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """outputs [B, GRID^2, 19], classes [B, GRID^2], boxes [B, GRID^2, 8] -> (loss, metrics)."""
    logits, predicted = outputs[..., : NO_DIGIT + 1], outputs[..., NO_DIGIT + 1 :]
    weights = torch.ones(NO_DIGIT + 1)
    weights[NO_DIGIT] = NO_DIGIT_WEIGHT
    has_digit = classes != NO_DIGIT
    class_loss = cross_entropy(logits.flatten(0, 1), classes.flatten(), weights)
    box_loss = smooth_l1_loss(predicted[has_digit], boxes[has_digit], beta=BOX_BETA)
    right = (logits.argmax(-1) == classes)[has_digit].float().mean()
    metrics = {"class": class_loss.item(), "box": box_loss.item(), "accuracy": right.item()}
    return class_loss + BOX_WEIGHT * box_loss, metrics
