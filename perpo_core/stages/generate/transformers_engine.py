"""transformers.generate as an engine: slow, simple, the reference that tests compare against.

Greedy ids and the log-probabilities of given ids agree with vLLM; sampled ids do not, since each
engine draws its own random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from perpo_core.policy.banned import find_banned_ids
from perpo_core.policy.encoding import EncodedPrompt, encode_or_refuse
from perpo_core.policy.loading import load_model
from perpo_core.policy.prompts import Prompt
from perpo_core.policy.refusals import Refusal
from perpo_core.stages.generate.engine import GREEDY_INDEX, Answer, Outcome
from perpo_core.store.keys import derive_seed
from schemas.run import SamplingJob


class TransformersEngine:
    """One prompt at a time, so that no padding can matter."""

    waited_s = 0.0  # what it does beside computing is not measured

    def __init__(self, job: SamplingJob) -> None:
        torch.set_num_threads(job.threads)
        self._request = job.request
        request = job.request
        model, self._processor = load_model(job.policy, request.dtype, request.pixel_limits)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model.to(device).eval()
        self._banned = [[i] for i in find_banned_ids(self._processor.tokenizer)]

    def sample(self, prompts: Iterator[Prompt]) -> Iterator[tuple[str, Outcome]]:
        """The answers of each prompt, in the prompts' order."""
        for prompt in prompts:
            yield prompt.prompt_id, self._sample_one(prompt)

    def _sample_one(self, prompt: Prompt) -> Outcome:
        encoded = encode_or_refuse(self._processor, prompt, self._request.max_model_len)
        if isinstance(encoded, Refusal):
            return encoded
        seed = derive_seed(self._request.seed, prompt.prompt_id)
        numbers = {True: int(self._request.greedy), False: self._request.num_candidates}
        return [
            answer
            for greedy, number in numbers.items()
            if number
            for answer in self._generate(encoded, number, seed, greedy)
        ]

    @torch.inference_mode()
    def _generate(
        self, encoded: EncodedPrompt, num_answers: int, seed: int, greedy: bool
    ) -> list[Answer]:
        ids, vision = encoded
        ids_1T = torch.tensor([ids], device=self._model.device)
        torch.manual_seed(seed)
        sampling = (
            {"do_sample": False}
            if greedy
            else {
                "do_sample": True,
                "temperature": self._request.temperature,
                "top_p": self._request.top_p,
                "top_k": 0,
            }
        )
        output = self._model.generate(
            input_ids=ids_1T,
            attention_mask=torch.ones_like(ids_1T),
            **{name: value.to(self._model.device) for name, value in vision.items()},
            **sampling,
            num_return_sequences=num_answers,
            max_new_tokens=min(self._request.max_tokens, self._request.max_model_len - len(ids)),
            bad_words_ids=self._banned,
            output_logits=True,
            return_dict_in_generate=True,
        )
        ids_GT = output.sequences[:, len(ids) :]
        logps_GTV = torch.stack(output.logits, 1).float().log_softmax(-1)
        logps_GT = logps_GTV.gather(-1, ids_GT[..., None]).squeeze(-1)
        first_index = GREEDY_INDEX if greedy else 0
        return [
            self._to_answer(first_index + g, ids.tolist(), logps.tolist(), seed)
            for g, (ids, logps) in enumerate(zip(ids_GT, logps_GT, strict=True))
        ]

    def _to_answer(self, index: int, ids: list[int], logps: list[float], seed: int) -> Answer:
        ends = [position for position, token in enumerate(ids) if token in self._end_ids()]
        length = ends[0] + 1 if ends else len(ids)
        text = self._processor.tokenizer.decode(ids[:length], skip_special_tokens=True)
        return Answer(index, text, ids[:length], logps[:length], "stop" if ends else "length", seed)

    def _end_ids(self) -> set[int]:
        end = self._model.generation_config.eos_token_id
        return set(end) if isinstance(end, list) else {end}
