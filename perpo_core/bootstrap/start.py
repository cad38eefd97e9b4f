"""How the language model starts to look: image tokens resemble the text of what they show.

A random language model stays blind to image tokens for thousands of steps, since finding the token
that shows a 7 and reading a box from it only pay together. It therefore starts with the first half:
a patch shows as the embedding of the digit in it, and one attention head looks for the digit of its
own token (a mimetic initialisation, Trockman and Kolter, arXiv 2305.09828). Training goes on from
there and is free to change both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perpo_core.bootstrap.vision import NO_DIGIT

CLASS_SCALE, BOX_SCALE = 0.5, 2.0  # digit and box then weigh about the same in an image token
REST_SCALE = 0.05  # of the connector's random start: what the head does not read stays faint
LOOK_GAIN = 0.88  # a match then scores about 9 nats above an empty patch


def show_to_connector(head: nn.Linear, connector: nn.Module, digit_embeddings: Tensor) -> None:
    """Start the connector with what the vision head read: a patch shows as its digit and its box.

    digit_embeddings [10, H] are the language model's embeddings of "0" to "9", weighed by a patch's
    class scores. The boxes go to the first dimensions.
    """
    projection: nn.Linear = connector.modality_projection.proj  # type: ignore[union-attr,assignment]
    classes, boxes = head.weight[:NO_DIGIT].detach(), head.weight[NO_DIGIT + 1 :].detach()
    projection.weight.data *= REST_SCALE
    projection.weight.data += CLASS_SCALE * digit_embeddings.T @ (classes - classes.mean(0))
    projection.weight.data[: len(boxes)] += BOX_SCALE * boxes


def look_for_digits(attention: nn.Module, digit_embeddings: Tensor) -> None:
    """Start the first head of a layer as "look for image tokens that show this token's digit".

    Queries and keys are coordinates in the digits' embeddings. Keys lose the coordinates' sum,
    which is 1 for a digit of the text and 0 for an image token (class scores are centred above):
    text does not match itself. Only the slowest rotary dimensions take part, so that distance
    hardly matters.
    """
    coordinates = torch.linalg.pinv(digit_embeddings).T  # [10, H]: embedding of "7" -> one-hot 7
    half, num_pairs = attention.head_dim // 2, len(coordinates) // 2  # type: ignore[operator]
    slow = [*range(half - num_pairs, half), *range(2 * half - num_pairs, 2 * half)]
    for projection, rows in (
        (attention.q_proj, coordinates),
        (attention.k_proj, coordinates - coordinates.sum(0)),
    ):
        first_head = projection.weight.data[: 2 * half]  # type: ignore[union-attr,index]
        first_head.zero_()
        first_head[slow] = LOOK_GAIN * digit_embeddings.norm(dim=1).mean() * rows
