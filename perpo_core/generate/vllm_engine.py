"""vLLM as an engine: one request a prompt with n answers, seeded, raw log-probabilities kept.

Every switch is set here, with its reason; nothing else in the project configures vLLM.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from perpo_core.generate.banned import find_banned_ids
from perpo_core.generate.encoding import encode_prompt, encode_unexpanded
from perpo_core.generate.engine import GREEDY_INDEX, Answer
from perpo_core.generate.prompts import Prompt
from perpo_core.keys import derive_seed
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

    def sample(self, prompts: Sequence[Prompt]) -> list[list[Answer]]:
        """All answers of a shard; nothing of an earlier shard can change them."""
        self._llm.reset_prefix_cache()  # a resumed run meets every shard with a cold cache too
        inputs = [self._build_input(prompt) for prompt in prompts]
        answers = self._run(inputs, prompts, self._request.num_candidates, greedy=False)
        if not self._request.greedy:
            return answers
        greedy = self._run(inputs, prompts, 1, greedy=True)
        return [first + rest for first, rest in zip(greedy, answers, strict=True)]

    def _build_input(self, prompt: Prompt) -> dict[str, Any]:
        """Ids, not text, which vLLM would begin anew; it expands the image placeholders itself."""
        ids = {"prompt_token_ids": encode_unexpanded(self._processor, prompt.messages)}
        if not prompt.images:
            return ids
        return {**ids, "multi_modal_data": {"image": prompt.open_images()}}

    def _compare_once(self, prompt: Prompt, used: Sequence[int]) -> None:
        """Of the first prompt of this process: vLLM used the very ids that training will."""
        if not self._is_compared:
            require_same_ids(used, encode_prompt(self._processor, prompt)[0])
            self._is_compared = True

    def _run(
        self, inputs: list[Any], prompts: Sequence[Prompt], num_answers: int, greedy: bool
    ) -> list[list[Answer]]:
        from vllm import SamplingParams

        seeds = [derive_seed(self._request.seed, prompt.prompt_id) for prompt in prompts]
        params = [
            SamplingParams(
                n=num_answers,
                temperature=0.0 if greedy else self._request.temperature,
                top_p=1.0 if greedy else self._request.top_p,
                max_tokens=self._request.max_tokens,
                seed=seed,
                logprobs=0,
                logit_bias=self._bias,
            )
            for seed in seeds
        ]
        outputs = self._llm.generate(inputs, params, use_tqdm=False)
        if outputs:
            self._compare_once(prompts[0], outputs[0].prompt_token_ids or [])
        first_index = GREEDY_INDEX if greedy else 0
        return [
            [_to_answer(first_index + out.index, out, seed) for out in request.outputs]
            for request, seed in zip(outputs, seeds, strict=True)
        ]


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
