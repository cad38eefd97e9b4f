"""The processes of one training (torchrun's ranks); without any, everything here is a no-op.

Work is shared out in turns: rank r of W does items r, r + W, r + 2W, ...
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import distributed

T = TypeVar("T")


def get_rank() -> int:
    """Number of this process; the first, 0, is the one that reports and writes."""
    return int(os.environ.get("RANK", 0))


def get_world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def take_turns(items: Sequence[T]) -> Sequence[T]:
    """The items that are this process's to do."""
    return items[get_rank() :: get_world_size()]


def gather_turns(mine: Sequence[T]) -> list[T]:
    """The results of take_turns' items of all processes, in the items' order; on every one."""
    shares = gather(list(mine))
    ordered = [share[turn : turn + 1] for turn in range(len(shares[0])) for share in shares]
    return [result for results in ordered for result in results]


def gather(value: T) -> list[T]:
    """The values of all processes, by rank; on every one."""
    if get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * get_world_size()
    distributed.all_gather_object(values, value)
    return values


def choose_device() -> torch.device:
    """This process's GPU, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def join_processes() -> None:
    """Meet the other processes, once, before anything is gathered."""
    if get_world_size() > 1:
        # accelerate's own state, which the Trainer finds and uses.
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())
        if torch.cuda.is_available():
            torch.cuda.set_device(choose_device())


def run_as_one_of_many(main: Callable[[], object]) -> None:
    """Run main; one of several processes then ends at once, whatever main made still alive.

    Teardown may never end: it joins Gloo's threads while it holds the interpreter, for which they
    wait to drop the tensors of the last collective (pytorch/pytorch issues 56297 and 190489).
    """
    if get_world_size() == 1:
        main()
        return
    status = 1
    try:
        _kept = main()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
