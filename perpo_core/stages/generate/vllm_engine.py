"""vLLM as an engine: one request a prompt with n answers, seeded, raw log-probabilities kept.

Requests stream through vLLM's step interface: at any time a bounded number of prompts is in flight,
about twice what the engine computes at once, so that it never runs dry between prompts or shards.
How many are admitted before a step follows from the prompts and the steps alone, not from the
clock: the same prompts in the same order are computed in the same batches. Batches of other prompts
give the same answers where kernels do not depend on the batch (float32 on a CPU, or where vLLM's
VLLM_BATCH_INVARIANT is set on a GPU that has it); elsewhere logits move by rounding.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from perpo_core.policy.banned import find_banned_ids
from perpo_core.policy.encoding import shorten
from perpo_core.policy.prompts import Prompt
from perpo_core.policy.refusals import BY_ENGINE, Refusal
from perpo_core.stages.generate.engine import GREEDY_INDEX, Answer, Outcome
from perpo_core.stages.generate.preparing import Prepared, Preparers
from perpo_core.stages.generate.vllm_adapter import build_adapter_request
from perpo_core.stages.generate.vllm_switches import build_engine_args
from perpo_core.store.keys import derive_seed
from schemas.run import SamplingJob

BANNED_BIAS = -100.0
IN_FLIGHT_BATCHES = 2  # prompts in flight, in batches of as many sequences as vLLM computes at once
IN_FLIGHT_BYTES = 2 << 30  # of prepared images in flight
PROFILE_AFTER, PROFILE_STEPS = 4, 64  # the first steps warm up; few enough for a browser to show
ADMITTED_SHARE = 4  # a step admits a fourth of what is missing, so that no step waits for many


@dataclass
class _Pending:
    """A prompt in flight."""

    prompt_id: str
    num_bytes: int
    parts: dict[bool, list[Answer] | None]
    """Greedy or not -> its answers, once they are there."""


@dataclass
class _Flight:
    """All that are in flight, by the request's name."""

    by_request: dict[str, _Pending] = field(default_factory=dict)
    num_prompts: int = 0
    num_bytes: int = 0

    def has_room(self, prepared: Prepared) -> bool:
        return not self.num_prompts or self.num_bytes + prepared.num_bytes <= IN_FLIGHT_BYTES

    def enter(self, pending: _Pending) -> None:
        self.num_prompts += 1
        self.num_bytes += pending.num_bytes

    def leave(self, pending: _Pending) -> None:
        self.num_prompts -= 1
        self.num_bytes -= pending.num_bytes


class VllmEngine:
    """vLLM's engine in this process, and the processes that prepare its prompts."""

    def __init__(self, job: SamplingJob) -> None:
        arguments = build_engine_args(job)
        from transformers import AutoTokenizer
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.llm_engine import LLMEngine

        self._request, self._profile = job.request, job.profile is not None
        numbers = {True: int(job.request.greedy), False: job.request.num_candidates}
        self._sorts = [greedy for greedy, number in numbers.items() if number]
        self._profile_name = f"{job.key[:8]}-engine-{job.rank}"
        usage = UsageContext.LLM_CLASS  # what vLLM's defaults of batch sizes go by: offline
        config = arguments.create_engine_config(usage)
        self._preparers = Preparers(job, config)
        self._engine: Any = LLMEngine.from_vllm_config(config, usage, disable_log_stats=True)
        num_answers = job.request.num_candidates + job.request.greedy
        batch = IN_FLIGHT_BATCHES * config.scheduler_config.max_num_seqs
        self._max_prompts = max(ADMITTED_SHARE, -(-batch // num_answers))
        tokenizer = AutoTokenizer.from_pretrained(job.policy.folder, trust_remote_code=False)
        self._adapter = build_adapter_request(job.policy)
        self._bias = dict.fromkeys(find_banned_ids(tokenizer), BANNED_BIAS)
        self.waited_s = 0.0

    def sample(self, prompts: Iterator[Prompt]) -> Iterator[tuple[str, Outcome]]:
        """Each prompt's outcome as it is finished; nothing in flight beside it can change it."""
        if self._profile:
            self._engine.start_profile(
                self._profile_name, delay_iterations=PROFILE_AFTER, max_iterations=PROFILE_STEPS
            )
        yield from self._stream(self._preparers.prepare(prompts))
        if self._profile:  # where the steps were too few for it to end by itself
            self._engine.stop_profile()

    def _stream(self, ready: Iterator[Prepared]) -> Iterator[tuple[str, Outcome]]:
        flight = _Flight()
        held: Prepared | None = None
        is_over = False
        while not is_over or flight.num_prompts:
            num_missing = self._max_prompts - flight.num_prompts
            for _ in range(-(-num_missing // ADMITTED_SHARE)):
                held = held or self._wait_for(ready)
                if held is None:
                    is_over = True
                if held is None or not flight.has_room(held):
                    break
                refusal = self._admit(held, flight)
                if refusal is not None:
                    yield held.prompt_id, refusal
                held = None
            yield from self._step(flight)

    def _wait_for(self, ready: Iterator[Prepared]) -> Prepared | None:
        """The next prompt; None after the last."""
        started_s = time.perf_counter()
        prepared = next(ready, None)
        self.waited_s += time.perf_counter() - started_s
        return prepared

    def _admit(self, prepared: Prepared, flight: _Flight) -> Refusal | None:
        """Hand a prompt to vLLM; why it cannot be answered, where vLLM does not take it."""
        if isinstance(prepared.content, Refusal):
            return prepared.content
        sorts = self._sorts
        pending = _Pending(prepared.prompt_id, prepared.num_bytes, dict.fromkeys(sorts))
        added: list[str] = []
        try:
            for greedy in sorts:
                added.append(self._add(prepared, greedy))
        except (MemoryError, OSError):
            raise
        except Exception as error:  # its own limits, such as that of an image's tokens
            self._engine.abort_request(added, internal=True)
            return Refusal(BY_ENGINE, shorten(error))
        flight.by_request |= {_name(pending.prompt_id, greedy): pending for greedy in sorts}
        flight.enter(pending)
        return None

    def _add(self, prepared: Prepared, greedy: bool) -> str:
        """vLLM's own name of the request."""
        params = self._build_params(prepared.prompt_id, greedy)
        name = _name(prepared.prompt_id, greedy)
        return str(
            self._engine.add_request(name, prepared.content, params, lora_request=self._adapter)
        )

    def _step(self, flight: _Flight) -> Iterator[tuple[str, Outcome]]:
        """Let vLLM compute once; the prompts that this finished."""
        for output in self._engine.step() if flight.num_prompts else []:
            if not output.finished:
                continue
            pending = flight.by_request.pop(output.request_id)
            greedy = output.request_id == _name(pending.prompt_id, True)
            seed = self._derive_seed(pending.prompt_id)
            pending.parts[greedy] = [
                to_answer(GREEDY_INDEX if greedy else each.index, each, seed)
                for each in output.outputs
            ]
            if all(part is not None for part in pending.parts.values()):
                flight.leave(pending)
                yield (
                    pending.prompt_id,
                    [answer for part in pending.parts.values() for answer in part or []],
                )

    def _build_params(self, prompt_id: str, greedy: bool) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            n=1 if greedy else self._request.num_candidates,
            temperature=0.0 if greedy else self._request.temperature,
            top_p=1.0 if greedy else self._request.top_p,
            max_tokens=self._request.max_tokens,
            seed=self._derive_seed(prompt_id),
            logprobs=0,
            logit_bias=self._bias,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _derive_seed(self, prompt_id: str) -> int:
        return derive_seed(self._request.seed, prompt_id)


def _name(prompt_id: str, greedy: bool) -> str:
    """A request's."""
    return f"{prompt_id}-{'greedy' if greedy else 'sampled'}"


def to_answer(index: int, output: Any, seed: int) -> Answer:
    token_ids = list(output.token_ids)
    logps = [
        logprobs[token_id].logprob
        for token_id, logprobs in zip(token_ids, output.logprobs, strict=True)
    ]
    return Answer(index, output.text, token_ids, logps, output.finish_reason, seed)
