"""transformers.Trainer on ranked lists; checkpoints, resume and schedules are the library's.

What is ours: a batch is packed lists, the loss is the sum over lists divided by the number of
lists of the whole optimiser step (over accumulation), evaluation is reward on validation answers,
and a loss that is not finite stops the run with the lists named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import Trainer

from perpo_core.objectives import ListBatch
from perpo_core.objectives.combine import compute_loss_P
from perpo_core.objectives.pairs import find_best
from perpo_core.train.data import RankedList, TrainBatch, collate_lists, split_by_tokens
from perpo_core.train.logps import compute_token_logps, sum_by_answer
from perpo_core.train.meters import StepMeters
from perpo_core.train.validation import ValidationReward
from schemas.config import TrainConfig

TRAINING_ARGS_FILE = "training_args.bin"


class Collator:
    """Ranked lists -> parts the Trainer can carry; the list ids travel for error messages.

    A part is a forward pass: as many lists as `max_tokens` allow.
    """

    def __init__(self, pad_id: int, max_tokens: int) -> None:
        self._pad_id = pad_id
        self._max_tokens = max_tokens

    def __call__(self, lists: Sequence[RankedList]) -> dict[str, Any]:
        return {"parts": [self._collate(part) for part in split_by_tokens(lists, self._max_tokens)]}

    def _collate(self, lists: Sequence[RankedList]) -> dict[str, Any]:
        batch = collate_lists(lists, self._pad_id)
        return {"batch": batch, "list_ids": [ranked.list_id for ranked in lists]}


def compute_list_batch(model: nn.Module, batch: TrainBatch) -> ListBatch:
    """Log-probabilities of a batch's answers under the model, beside what is known of them."""
    logps_PG = sum_by_answer(compute_token_logps(model, batch.packed), batch.packed)
    lists = ListBatch(
        logps_PG=logps_PG,
        ref_logps_PG=batch.ref_logps_PG,
        rewards_PG=batch.rewards_PG,
        mask_PG=batch.packed.mask_BG,
        num_tokens_PG=batch.num_tokens_PG,
        extra_ref_logps_KPG=batch.extra_ref_logps_KPG,
    )
    return lists if batch.crop is None else _add_crop(lists, compute_list_batch(model, batch.crop))


def _add_crop(lists: ListBatch, crop: ListBatch) -> ListBatch:
    """The log-probabilities of the crops' answers, put where these answers stand in their lists."""
    best_PG = find_best(lists)

    def place(values_PB: Tensor) -> Tensor:
        """Both masks hold the best answers of a list in its order, list after list."""
        empty_PG = values_PB.new_zeros(best_PG.shape)
        return empty_PG.masked_scatter(best_PG, values_PB[crop.mask_PG])

    return replace(
        lists, crop_logps_PG=place(crop.logps_PG), ref_crop_logps_PG=place(crop.ref_logps_PG)
    )


class ListTrainer(Trainer):
    """Trains on packed lists and evaluates by reward."""

    def __init__(
        self, *, list_config: TrainConfig, validation: ValidationReward | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._list_config = list_config
        self._validation = validation
        self._meters = StepMeters(list_config)
        self.add_callback(self._meters)  # it pauses while the Trainer evaluates and saves
        self.loss_is_scaled_for_ga = True  # compute_loss divides by the lists of the whole step

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> int | None:
        """Lists of the optimiser step."""
        del device
        parts = [part for sample in batch_samples for part in sample["parts"]]
        return sum(part["batch"].num_lists for part in parts) or None

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Forward and backward of one part after the other; their gradients and losses add up."""
        step = super().training_step
        losses = [step(model, part, num_items_in_batch) for part in inputs["parts"]]
        return torch.stack(losses).sum()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        batch = inputs["batch"].to(self.args.device)
        lists = compute_list_batch(model, batch)
        loss_P = compute_loss_P(lists, self._list_config)
        self._refuse_nonfinite(loss_P, inputs["list_ids"])
        self._meters.add(lists, batch)
        loss = loss_P.sum() / (num_items_in_batch or batch.num_lists)
        return (loss, {}) if return_outputs else loss

    def _refuse_nonfinite(self, loss_P: Tensor, list_ids: Sequence[str]) -> None:
        bad = [
            list_id
            for list_id, finite in zip(list_ids, torch.isfinite(loss_P).tolist(), strict=True)
            if not finite
        ]
        if bad:
            raise ValueError(
                f"the loss of {len(bad)} lists is not finite at step {self.state.global_step} "
                f"(sample_id {', '.join(bad[:3])}); lower train.learning_rate or look at these rows"
            )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            logs |= self._meters.read()
        super().log(logs, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mean greedy reward on the validation prompts, logged as the Trainer logs metrics."""
        del args, kwargs
        assert self._validation is not None
        assert self.model is not None
        reading = self._validation.measure(self.model)
        metrics = {"eval_reward": reading.mean_reward}
        metrics |= {f"eval_reward_{task}": value for task, value in reading.per_task.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _load_best_model(self) -> None:
        """The best checkpoint of this folder, wherever the folder lay when it was written."""
        best = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.best_global_step}"
        self.state.best_model_checkpoint = str(best)
        if not best.is_dir():
            raise ValueError(f"{best} is missing; remove {best.parent} to train from the start")
        if isinstance(self.model, PeftModel):
            super()._load_best_model()
        else:
            self._load_weights(best)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if isinstance(self.model, PeftModel):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._load_weights(Path(resume_from_checkpoint))

    def _load_weights(self, checkpoint: Path) -> None:
        """All weights of a full fine-tuning checkpoint.

        The library's own loading compares names without from_pretrained's renaming and is not
        strict: of a LLaVA or Qwen-VL checkpoint, saved under other names, it loads nothing.
        """
        model: Any = self.model
        saved = type(model).from_pretrained(checkpoint, dtype=model.dtype, use_safetensors=True)
        model.load_state_dict(saved.state_dict())

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Without training_args.bin: a pickle that nobody reads."""
        super()._save(output_dir, state_dict)
        if output_dir:
            (Path(output_dir) / TRAINING_ARGS_FILE).unlink(missing_ok=True)


@torch.no_grad()
def compute_reference_logps(
    model: nn.Module, batches: Sequence[TrainBatch] | Any, device: torch.device | str
) -> list[list[float]]:
    """Log-probabilities of every answer of every list under the frozen start model, nats."""
    model.eval()
    rows: list[list[float]] = []
    for batch in batches:
        lists = compute_list_batch(model, batch.to(device))
        for logps_G, mask_G in zip(lists.logps_PG, lists.mask_PG, strict=True):
            rows.append(logps_G[mask_G].tolist())
    return rows
