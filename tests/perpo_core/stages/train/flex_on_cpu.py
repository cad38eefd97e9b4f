"""FlexAttention with gradients on a CPU, where torch has no kernel for them.

What runs is torch's own definition of the operator and of its gradients, all scores at once, in any
dtype; mask, layout and the compiler's view of both are those of CUDA. torch refuses to train with
it on a CPU, since it is slow; that check is all that is taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

from torch.nn.attention import flex_attention as library

from perpo_core.stages.train import attention_flex

compile_for_cpu = partial(attention_flex.compile_flex, "aot_eager")


@contextmanager
def flex_on_cpu() -> Iterator[None]:
    with (
        patch.object(library, "_validate_device", lambda *inputs: None),
        patch.object(attention_flex, "compile_flex", compile_for_cpu),
    ):
        yield
