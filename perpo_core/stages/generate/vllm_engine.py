"""vLLM as an engine: one request a prompt with n answers, seeded, raw log-probabilities kept.

Every switch is set here, with its reason; nothing else in the project configures vLLM.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from perpo_core.policy.banned import find_banned_ids
from perpo_core.policy.encoding import (
    encode_or_refuse,
    encode_prompt,
    encode_unexpanded,
    shorten,
)
from perpo_core.policy.prompts import Prompt
from perpo_core.policy.refusals import BY_ENGINE, Refusal
from perpo_core.stages.generate.engine import GREEDY_INDEX, Answer, Outcome
from perpo_core.store.keys import derive_seed
from schemas.run import SamplingJob

BANNED_BIAS = -100.0


class VllmEngine:
    """An offline vLLM in this process."""

    def __init__(self, job: SamplingJob) -> None:
        # The engine in this process: starts in 2 s instead of 11-20, and dies with the child.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        import torch
        from transformers import AutoProcessor
        from vllm import LLM

        on_cpu = not torch.cuda.is_available()
        if on_cpu:
            os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(job.kv_cache_gb)))
        request = job.request
        self._request = request
        self._processor = AutoProcessor.from_pretrained(job.policy.folder, trust_remote_code=False)
        self._llm = LLM(
            model=str(job.policy.folder),
            trust_remote_code=False,
            dtype=request.dtype,
            max_model_len=request.max_model_len,
            seed=request.seed,
            logprobs_mode="raw_logprobs",  # the policy's own, before bans and temperature
            enforce_eager=on_cpu,  # compiling gained nothing on CPU
            tensor_parallel_size=job.tensor_parallel,
            disable_log_stats=True,
            **(_cpu_switches(job) if on_cpu else _gpu_switches(job)),
        )
        self._bias = dict.fromkeys(find_banned_ids(self._processor.tokenizer), BANNED_BIAS)
        self._is_compared = False

    def sample(self, prompts: Sequence[Prompt]) -> list[Outcome]:
        """All outcomes of a shard; nothing of an earlier shard can change them."""
        self._llm.reset_prefix_cache()  # a resumed run meets every shard with a cold cache too
        sampled = self._run(prompts, self._request.num_candidates, greedy=False)
        if not self._request.greedy:
            return sampled
        taken = [p for p, o in zip(prompts, sampled, strict=True) if not isinstance(o, Refusal)]
        greedy = iter(self._run(taken, 1, greedy=True))
        return [o if isinstance(o, Refusal) else _join(next(greedy), o) for o in sampled]

    def _run(self, prompts: Sequence[Prompt], num_answers: int, greedy: bool) -> list[Outcome]:
        """Queue every prompt, as LLM.generate does, and answer those that vLLM took."""
        from vllm import RequestOutput

        refusals = [self._queue(prompt, num_answers, greedy) for prompt in prompts]
        taken = [p for p, refusal in zip(prompts, refusals, strict=True) if refusal is None]
        outputs = self._llm.wait_for_completion(RequestOutput, use_tqdm=False)
        if outputs:
            self._compare_once(taken[0], outputs[0].prompt_token_ids or [])
        answers = iter(
            [
                _to_answer(GREEDY_INDEX if greedy else out.index, out, self._derive_seed(prompt))
                for out in request.outputs
            ]
            for prompt, request in zip(taken, outputs, strict=True)
        )
        return [next(answers) if refusal is None else refusal for refusal in refusals]

    def _queue(self, prompt: Prompt, num_answers: int, greedy: bool) -> Refusal | None:
        """Hand a prompt to vLLM; why it cannot be answered, where vLLM does not take it."""
        params = self._build_params(num_answers, self._derive_seed(prompt), greedy)
        prompt_input = self._build_input(prompt)
        try:
            self._llm.enqueue(prompt_input, params, use_tqdm=False)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # vLLM's checks, its processors' and transformers' own
            # vLLM keeps an image in two caches, and that of a refused prompt is in one of them.
            self._llm.reset_mm_cache()
            return self._explain(prompt, error)
        return None

    def _explain(self, prompt: Prompt, error: Exception) -> Refusal:
        """In the words of every engine, or vLLM's where transformers has no objection."""
        outcome = encode_or_refuse(self._processor, prompt, self._request.max_model_len)
        if isinstance(outcome, Refusal):
            return outcome
        return Refusal(BY_ENGINE, shorten(error))

    def _build_input(self, prompt: Prompt) -> Any:
        """Ids, not text, which vLLM would begin anew; it expands the image placeholders itself."""
        ids = {"prompt_token_ids": encode_unexpanded(self._processor, prompt.messages)}
        if not prompt.images:
            return ids
        return {**ids, "multi_modal_data": {"image": prompt.open_images()}}

    def _build_params(self, num_answers: int, seed: int, greedy: bool) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            n=num_answers,
            temperature=0.0 if greedy else self._request.temperature,
            top_p=1.0 if greedy else self._request.top_p,
            max_tokens=self._request.max_tokens,
            seed=seed,
            logprobs=0,
            logit_bias=self._bias,
        )

    def _derive_seed(self, prompt: Prompt) -> int:
        return derive_seed(self._request.seed, prompt.prompt_id)

    def _compare_once(self, prompt: Prompt, used: Sequence[int]) -> None:
        """Of the first prompt of this process: vLLM used the very ids that training will."""
        if not self._is_compared:
            require_same_ids(used, encode_prompt(self._processor, prompt)[0])
            self._is_compared = True


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


def _join(greedy: Outcome, sampled: list[Answer]) -> Outcome:
    """The greedy answer before the sampled ones."""
    return greedy if isinstance(greedy, Refusal) else greedy + sampled


def _to_answer(index: int, output: Any, seed: int) -> Answer:
    token_ids = list(output.token_ids)
    logps = [
        logprobs[token_id].logprob
        for token_id, logprobs in zip(token_ids, output.logprobs, strict=True)
    ]
    return Answer(index, output.text, token_ids, logps, output.finish_reason, seed)


def _cpu_switches(job: SamplingJob) -> dict[str, Any]:
    return {
        # A per-request seed and a split prefill together kill the engine on CPU.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(4096, job.request.max_model_len),
        "block_size": 32,  # short prompts: larger blocks waste cache
        "max_num_seqs": 256,
    }


def _gpu_switches(job: SamplingJob) -> dict[str, Any]:
    return {"gpu_memory_utilization": job.gpu_memory_utilization}
