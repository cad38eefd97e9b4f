"""transformers.Trainer on ranked lists; checkpoints, resume and schedules are the library's.

What is ours: a step's lists are run in parts and shared out over the processes, the loss is the sum
over lists divided by the number of lists of the whole optimiser step, evaluation is reward on
selection answers, and a loss that is not finite stops the run with the lists named.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from perpo_core.stages.train.checkpoints import load_trained, save_trained
from perpo_core.stages.train.list_policy import ListPolicy, compute_list_batch
from perpo_core.stages.train.loader import StepLoader, StepSampler, describe_workers
from perpo_core.stages.train.meters import StepMeters
from perpo_core.stages.train.objectives.combine import compute_loss_parts
from perpo_core.stages.train.parts import group_parameters
from perpo_core.stages.train.ranks import gather, get_world_size
from perpo_core.stages.train.selection import SelectionReward
from schemas.train_config import TrainConfig


class ListTrainer(Trainer):
    """Trains a ListPolicy on packed lists and evaluates it by reward."""

    def __init__(
        self, *, list_config: TrainConfig, selection: SelectionReward | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        assert isinstance(self.model, ListPolicy)
        self.list_policy = self.model
        self._list_config = list_config
        self._selection = selection
        self._meters = StepMeters(list_config)
        self.add_callback(self._meters)  # it pauses while the Trainer evaluates and saves
        self._filler: dict[str, Any] | None = None
        self._step_ids: list[str] = []
        self.loss_is_scaled_for_ga = True  # compute_loss divides by the lists of the whole step

    # Lists

    def get_train_dataloader(self) -> StepLoader:
        """This process's lists, a step at a time."""
        lists: Any = self.train_dataset
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        sampler = StepSampler(len(lists), self.args.per_device_train_batch_size, seed)
        return StepLoader(
            lists,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            **describe_workers(self._list_config.loader_workers),
            pin_memory=self.args.device.type == "cuda",
        )

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> int | None:
        """Lists of the optimiser step, over all processes."""
        del device
        parts = [part for sample in batch_samples for part in sample["parts"]]
        return sum(gather(sum(part["batch"].num_lists for part in parts))) or None

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Forward and backward of one part after the other; their gradients and losses add up.

        All processes run as many parts, since each forward meets the others'; who has fewer runs
        one that counts nothing.
        """
        parts = list(inputs["parts"])
        self._step_ids = [list_id for part in parts for list_id in part["list_ids"]]
        num_parts = max(gather(len(parts)))
        parts += [self._get_filler()] * (num_parts - len(parts))
        losses = []
        for number, part in enumerate(parts, start=1):
            alone = number < num_parts
            with self.accelerator.no_sync(model) if alone else nullcontext():
                losses.append(super().training_step(model, part, num_items_in_batch))
        return torch.stack(losses).sum()

    def _get_filler(self) -> dict[str, Any]:
        if self._filler is None:
            lists: Any = self.train_dataset
            [part] = self.data_collator([lists[0]])["parts"]
            self._filler = part | {"counts": False}
        return self._filler

    # Loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        batch = inputs["batch"].to(self.args.device)
        lists = compute_list_batch(model, batch)
        parts_P = compute_loss_parts(lists, self._list_config)
        loss_P = torch.stack(list(parts_P.values())).sum(0)
        # Distributed wrappers average gradients over the processes.
        loss = get_world_size() * loss_P.sum() / (num_items_in_batch or batch.num_lists)
        if inputs.get("counts", True):
            self._refuse_nonfinite(loss_P, inputs["list_ids"])
            self._meters.add(lists, batch, parts_P)
        else:
            loss = 0.0 * loss
        return (loss, {}) if return_outputs else loss

    def _refuse_nonfinite(self, loss_P: Tensor, list_ids: Sequence[str]) -> None:
        bad = [
            list_id
            for list_id, finite in zip(list_ids, torch.isfinite(loss_P).tolist(), strict=True)
            if not finite
        ]
        if bad:
            raise ValueError(self._describe_nonfinite(f"the loss of {len(bad)} lists", bad))

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        """Before the optimiser step, which a gradient that is not finite would ruin."""
        norm = super()._clip_grad_norm(model)
        if not torch.isfinite(torch.as_tensor(norm)):
            ids = [list_id for share in gather(self._step_ids) for list_id in share]
            raise ValueError(self._describe_nonfinite(f"the gradient of {len(ids)} lists", ids))
        return norm

    def _describe_nonfinite(self, what: str, list_ids: Sequence[str]) -> str:
        return (
            f"{what} is not finite at step {self.state.global_step} (sample_id "
            f"{', '.join(list_ids[:3])}); lower train.learning_rate or look at these rows"
        )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            logs |= self._meters.read()
        super().log(logs, *args, **kwargs)

    # Steps

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW with a learning rate for every part of the model."""
        model = self.model if model is None else model
        if self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            decayed = set(self.get_decay_parameter_names(model))
            groups = group_parameters(model, self._list_config, decayed)
            self.optimizer = kind(groups, **options)
        return self.optimizer

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mean greedy reward on the selection prompts, logged as the Trainer logs metrics."""
        del args, kwargs
        assert self._selection is not None
        reading = self._selection.measure(self.list_policy)
        metrics = {"eval_reward": reading.mean_reward}
        metrics |= {f"eval_reward_{task}": value for task, value in reading.per_task.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    # Checkpoints: what is trained and nothing else; no pickle of the arguments

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        save_trained(self.list_policy, folder, state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        del model
        load_trained(self.list_policy, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        """The best checkpoint of this folder, wherever the folder lay when it was written."""
        best = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.best_global_step}"
        self.state.best_model_checkpoint = str(best)
        if not best.is_dir():
            raise ValueError(f"{best} is missing; remove {best.parent} to train from the start")
        load_trained(self.list_policy, best)
