"""Prompts made ready for vLLM in processes of their own, ahead of the engine and in order.

An image is decoded and preprocessed where neither the engine's thread nor Python's lock is held
up by it. The processes are forked before the engine is built, as vLLM forks its own: they share the
imported libraries, start at once and never touch a device. What comes back are vLLM's own inputs
(Renderer.render_cmpl), as bytes through a pipe: tensors in shared memory would need more of it than
containers have.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Any

from perpo_core.policy.encoding import (
    describe_length,
    encode_or_refuse,
    encode_prompt,
    encode_unexpanded,
    shorten,
)
from perpo_core.policy.processor import load_processor
from perpo_core.policy.prompts import Prompt
from perpo_core.policy.refusals import BY_ENGINE, TOO_LONG, Refusal
from perpo_core.stages.generate.packed_tensors import pack, unpack
from schemas.run import SamplingJob

AHEAD = 16  # prompts prepared before they are asked for, at least: evens out images of all sizes
AHEAD_PER_WORKER = 4
CACHE_GB = 0.25  # of prepared images in each process, for further questions about the same one


@dataclass(frozen=True)
class Prepared:
    """What the engine gets of one prompt, or why it gets nothing."""

    prompt_id: str
    content: Any
    """vLLM's EngineInput, or a Refusal."""
    num_bytes: int
    """Of its tensors, about."""


class Preparers:
    """The processes; built before the engine."""

    def __init__(self, job: SamplingJob, vllm_config: Any) -> None:
        self._depth = max(AHEAD, AHEAD_PER_WORKER * job.loader_workers)
        self._pool = ProcessPoolExecutor(
            job.loader_workers,
            mp_context=multiprocessing.get_context("fork"),
            initializer=_begin,
            initargs=(job, vllm_config),
        )
        self._pool.submit(_do_nothing)  # the first task starts them all

    def prepare(self, prompts: Iterator[Prompt]) -> Iterator[Prepared]:
        """Every prompt made ready, in order; a bounded number of them is worked on ahead.

        Raises ChildProcessError where a process died, and what it raised where it could not go on.
        """
        waiting = deque((p.prompt_id, self._submit(p)) for p in islice(prompts, self._depth))
        while waiting:
            prompt_id, future = waiting.popleft()
            packed = _get_result(future)
            waiting.extend((p.prompt_id, self._submit(p)) for p in islice(prompts, 1))
            yield Prepared(prompt_id, unpack(packed), len(packed))

    def _submit(self, prompt: Prompt) -> Future[bytes]:
        return self._pool.submit(_prepare, prompt)


def _get_result(future: Future[bytes]) -> bytes:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a process that prepares images was ended, by the system if memory ran out; lower "
            "generate.loader_workers or policy.max_pixels"
        ) from error


class _Preparer:
    """In one of the processes: vLLM's own renderer without its engine."""

    def __init__(self, job: SamplingJob, vllm_config: Any) -> None:
        import torch
        from vllm.renderers import renderer_from_config

        torch.set_num_threads(1)
        # This process's copy of the configuration: the engine keeps no prepared images.
        vllm_config.model_config.multimodal_config.mm_processor_cache_gb = CACHE_GB
        self._model_config = vllm_config.model_config
        self._renderer = renderer_from_config(vllm_config)
        self._processor = load_processor(job.policy.folder, job.request.pixel_limits)
        self._limit = job.request.max_model_len
        self._is_compared = False

    def prepare(self, prompt: Prompt) -> Any:
        """vLLM's input, or why the policy cannot answer."""
        try:
            content = self._render(prompt)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # vLLM's checks, its processors' and transformers' own
            return self._explain(prompt, error)
        ids = content["prompt_token_ids"]
        if len(ids) >= self._limit:
            return Refusal(TOO_LONG, describe_length(len(ids), self._limit))
        if not self._is_compared:  # of the first prompt: the very ids that training will use
            require_same_ids(ids, encode_prompt(self._processor, prompt)[0])
            self._is_compared = True
        return content

    def _render(self, prompt: Prompt) -> Any:
        """Ids, not text, which vLLM would begin anew; it expands the image placeholders itself."""
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        asked: dict[str, Any] = {
            "prompt_token_ids": encode_unexpanded(self._processor, prompt.messages)
        }
        if prompt.images:
            # Known by their own bytes: vLLM's numbers would be the same in every process.
            names = [hashlib.sha256(image).hexdigest() for image in prompt.images]
            asked["multi_modal_data"] = {"image": prompt.open_images()}
            asked["multi_modal_uuids"] = {"image": names}
        parsed = parse_model_prompt(self._model_config, asked)
        [content] = self._renderer.render_cmpl([parsed], skip_mm_cache=True)
        return content

    def _explain(self, prompt: Prompt, error: Exception) -> Refusal:
        """In the words of every engine, or vLLM's where transformers has no objection."""
        outcome = encode_or_refuse(self._processor, prompt, self._limit)
        if isinstance(outcome, Refusal):
            return outcome
        return Refusal(BY_ENGINE, shorten(error))


def require_same_ids(used: Sequence[int], expected: Sequence[int]) -> None:
    """Raise ValueError unless an engine made the same ids of a prompt as transformers does."""
    if list(used) == list(expected):
        return
    pairs = zip(used, expected, strict=False)
    first = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(used), len(expected)))
    raise ValueError(
        f"vLLM made {len(used)} tokens of a prompt, and transformers' apply_chat_template makes "
        f"{len(expected)}; they differ from token {first} on ({list(used[first : first + 4])} and "
        f"{list(expected[first : first + 4])}), so that training would see other prompts than were "
        "answered: set generate.engine to transformers, or report it with the model's name"
    )


_preparer: _Preparer | None = None


def _begin(job: SamplingJob, vllm_config: Any) -> None:
    """In each process, while the engine starts; what cannot be loaded there fails here too."""
    global _preparer
    _preparer = _Preparer(job, vllm_config)


def _do_nothing() -> None:
    """Starts the processes."""


def _prepare(prompt: Prompt) -> bytes:
    assert _preparer is not None
    return pack(_preparer.prepare(prompt))
