"""The head that tells how far an answer is degraded (SPO, arXiv 2409.17791).

One linear layer on the last layer's hidden state at the answer's end token. That there is a
classifier on the policy's hidden state is the paper's as it is remembered; that it is one layer, at
the end token, is ours. It begins at zero: every degree is as likely (cross-entropy ln D), and the
first step moves the head alone, since through zero weights no gradient comes to the policy.

It is trained with the policy, lies in checkpoints, so that a killed training goes on with it, and
is no part of what is saved.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PREFIX = "degree_head."  # of the names of its parameters


class DegreeHead(nn.Module):
    """[..., H] hidden states -> [..., D] logits of degrees, in its own precision, float32."""

    def __init__(self, width: int, num_degrees: int) -> None:
        super().__init__()
        self.linear = nn.utils.skip_init(nn.Linear, width, num_degrees)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        weight = self.linear.weight
        with torch.autocast(hidden.device.type, enabled=False):
            logits: Tensor = self.linear(hidden.to(weight.dtype))
        return logits
