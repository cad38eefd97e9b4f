"""The ways of sampling that are compared, each in a child process that works when it is told to.

before        vLLM's LLM, shard by shard: its images are prepared, then its answers computed
after         ours: prompts stream, prepared ahead in another process (generate.loader_workers = 1)
bare          LLM.generate's own loop on inputs that were prepared before the clock starts, all of
              them handed over at once
transformers  one prompt at a time

All answer the same prompts of the built-in policy in float32, with the same seeds and bans, on one
thread. Idle is the time in which the engine (LLMEngine.step, model.generate) does not run.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.policy.prompts import Prompt
from perpo_core.policy.stamps import refer_to
from perpo_core.stages.generate.engine import Answer, Outcome
from schemas.run import SampleFiles, SamplingJob, SamplingRequest

Answers = dict[str, list[Answer]]
WARM_UP_PROMPTS = 8


@dataclass(frozen=True)
class Setting:
    """What every engine is asked."""

    num_prompts: int
    num_candidates: int
    max_tokens: int
    shard_prompts: int
    side: int
    """Of a square photo, pixels."""


class Clock:
    """Seconds in which the engine runs."""

    def __init__(self) -> None:
        self.busy_s = 0.0

    def watch(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started_s = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.busy_s += time.perf_counter() - started_s

        return timed


def build_job(setting: Setting) -> SamplingJob:
    request = SamplingRequest(
        splits=["train"], num_candidates=setting.num_candidates, greedy=False, temperature=1.0,
        top_p=1.0, max_tokens=setting.max_tokens, seed=0, shard_prompts=setting.shard_prompts,
        engine="vllm", dtype="float32", max_model_len=512,
    )  # fmt: skip
    return SamplingJob(
        request=request, policy=refer_to(BUILTIN_FOLDER), samples=SampleFiles(parts=[], packs=[]),
        key="0" * 64, attempt=0, folder=Path("unused"), threads=1, kv_cache_gb=1,
        gpu_memory_utilization=0.9, tensor_parallel=1,
    )  # fmt: skip


def make_prompt(number: int, side: int) -> Prompt:
    """A question about a photo of its own, a JPEG with as much detail as photos have."""
    coarse = np.random.default_rng(number).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    photo = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=90)
    content = [{"type": "image"}, {"type": "text", "text": f"Where is the {number % 10}?"}]
    prompt_id = hashlib.sha256(f"{number}".encode()).hexdigest()
    return Prompt(prompt_id, [{"role": "user", "content": content}], [buffer.getvalue()])


def build_after(setting: Setting, clock: Clock) -> Callable[[list[Prompt]], Answers]:
    from perpo_core.stages.generate.vllm_engine import VllmEngine

    engine = VllmEngine(build_job(setting))
    engine._engine.step = clock.watch(engine._engine.step)
    return lambda prompts: collect(engine.sample(iter(prompts)))


def build_transformers(setting: Setting, clock: Clock) -> Callable[[list[Prompt]], Answers]:
    from perpo_core.stages.generate.transformers_engine import TransformersEngine

    engine = TransformersEngine(build_job(setting))
    engine._model.generate = clock.watch(engine._model.generate)
    return lambda prompts: collect(engine.sample(iter(prompts)))


def collect(finished: Iterator[tuple[str, Outcome]]) -> Answers:
    return {prompt_id: outcome for prompt_id, outcome in finished if isinstance(outcome, list)}


class Offline:
    """vLLM's public LLM class with the switches of our engine, and one prompt's request."""

    def __init__(self, setting: Setting, clock: Clock) -> None:
        from perpo_core.stages.generate.vllm_switches import build_engine_args

        job = build_job(setting)
        arguments = vars(build_engine_args(job)) | {"mm_processor_cache_gb": 4}  # its default
        from transformers import AutoProcessor
        from vllm import LLM

        from perpo_core.policy.banned import find_banned_ids
        from perpo_core.stages.generate.vllm_engine import BANNED_BIAS

        self.llm = LLM(**arguments)
        self.llm.llm_engine.step = clock.watch(self.llm.llm_engine.step)  # type: ignore[method-assign]
        self._processor = AutoProcessor.from_pretrained(BUILTIN_FOLDER)
        self._bias = dict.fromkeys(find_banned_ids(self._processor.tokenizer), BANNED_BIAS)
        self._request = job.request

    def build_input(self, prompt: Prompt) -> Any:
        from perpo_core.policy.encoding import encode_unexpanded

        ids = encode_unexpanded(self._processor, prompt.messages)
        return {"prompt_token_ids": ids, "multi_modal_data": {"image": prompt.open_images()}}

    def build_params(self, prompt: Prompt) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        from perpo_core.store.keys import derive_seed

        asked = self._request
        return SamplingParams(
            n=asked.num_candidates, temperature=1.0, top_p=1.0, max_tokens=asked.max_tokens,
            seed=derive_seed(asked.seed, prompt.prompt_id), logprobs=0, logit_bias=self._bias,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )  # fmt: skip

    def wait(self, prompts: list[Prompt]) -> Answers:
        """Of what was handed over: the answers, as rows have them."""
        from vllm import RequestOutput

        from perpo_core.stages.generate.vllm_engine import to_answer

        outputs = self.llm.wait_for_completion(RequestOutput, use_tqdm=False)
        return {
            prompt.prompt_id: [to_answer(each.index, each, 0) for each in output.outputs]
            for prompt, output in zip(prompts, outputs, strict=True)
        }


def build_before(setting: Setting, clock: Clock) -> Callable[[list[Prompt]], Answers]:
    offline = Offline(setting, clock)

    def sample(prompts: list[Prompt]) -> Answers:
        answers: Answers = {}
        left = iter(prompts)
        while shard := list(islice(left, setting.shard_prompts)):
            offline.llm.reset_prefix_cache()
            for prompt in shard:
                offline.llm.enqueue(
                    offline.build_input(prompt), offline.build_params(prompt), use_tqdm=False
                )
            answers |= offline.wait(shard)
        return answers

    return sample


def build_bare(setting: Setting, clock: Clock) -> Callable[[list[Prompt]], Answers]:
    from vllm.renderers.inputs.preprocess import parse_model_prompt

    offline = Offline(setting, clock)
    llm = offline.llm
    prepared: dict[str, Any] = {}

    def prepare(prompts: list[Prompt]) -> None:
        for prompt in prompts:
            if prompt.prompt_id not in prepared:
                parsed = parse_model_prompt(llm.model_config, offline.build_input(prompt))
                [prepared[prompt.prompt_id]] = llm.renderer.render_cmpl(
                    [parsed], skip_mm_cache=True
                )

    def sample(prompts: list[Prompt]) -> Answers:
        for prompt in prompts:
            request_id = str(next(llm.request_counter))
            llm.llm_engine.add_request(
                request_id, prepared[prompt.prompt_id], offline.build_params(prompt)
            )
        return offline.wait(prompts)

    sample.prepare = prepare  # type: ignore[attr-defined]
    return sample


ENGINES: dict[str, Callable[[Setting, Clock], Callable[[list[Prompt]], Answers]]] = {
    "before": build_before,
    "after": build_after,
    "bare": build_bare,
    "transformers": build_transformers,
}


def serve(connection: Connection, engine: str, setting: Setting, num_rounds: int) -> None:
    """The child: says when it is ready, samples a round when told to, and says what that took.

    Every round has photos of its own, so that nothing is remembered of an earlier one.
    """
    os.dup2(2, 1)  # the last line of stdout belongs to the parent
    clock = Clock()
    sample = ENGINES[engine](setting, clock)
    size = setting.num_prompts
    every = [make_prompt(i, setting.side) for i in range(num_rounds * size + WARM_UP_PROMPTS)]
    rounds = [every[start : start + size] for start in range(0, num_rounds * size, size)]
    warm_up = every[num_rounds * size :]
    for prompts in (warm_up, *rounds):
        getattr(sample, "prepare", lambda _: None)(prompts)
    sample(warm_up)
    connection.send("ready")
    for prompts in rounds:
        connection.recv()
        clock.busy_s = 0.0
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        answers = sample(prompts)
        seconds = time.perf_counter() - started_s
        cpu_s = time.process_time() - started_cpu_s
        ids = [[answer.token_ids for answer in answers[prompt.prompt_id]] for prompt in prompts]
        connection.send(
            {
                "seconds": seconds,
                "idle_share": 1 - clock.busy_s / seconds,
                "cpu_s": cpu_s,
                "ids": hashlib.sha256(repr(ids).encode()).hexdigest(),
            }
        )
    for process in multiprocessing.active_children():  # a pool would wait for more, and we for it
        process.terminate()
