"""The card's YAML: what the Hugging Face Hub reads (https://huggingface.co/docs/hub/model-cards).

Values are written by huggingface_hub, which quotes what YAML would read as something else.
"""

from __future__ import annotations

from huggingface_hub import EvalResult, ModelCardData

from perpo_core.export.facts import CardFacts
from perpo_core.report.summary import TASK_LABELS, label_metric

PIPELINE_TAG = "image-text-to-text"
TAGS = ["perpo", "preference-optimization", "listwise", "vision-language-model"]


def build_front_matter(facts: CardFacts) -> str:
    """The block between the two lines of dashes, both included."""
    data = ModelCardData(
        base_model=facts.origin.name,
        base_model_relation="adapter" if facts.is_adapter else "finetune",
        library_name="peft" if facts.is_adapter else "transformers",
        pipeline_tag=PIPELINE_TAG,
        tags=[*TAGS, *(["lora"] if facts.config.train.adapter == "lora" else []), *facts.tasks],
        model_name=f"{facts.origin.name.rpartition('/')[2]}-perpo",
        eval_results=_build_results(facts) or None,
        **facts.licence,  # type: ignore[arg-type]
    )
    return f"---\n{data.to_yaml()}\n---"


def _build_results(facts: CardFacts) -> list[EvalResult]:
    """Every metric of the trained policy on the test split."""
    evaluation = facts.artifacts.evaluation
    return [
        EvalResult(
            task_type=PIPELINE_TAG,
            task_name=TASK_LABELS[task],
            dataset_type=facts.config.source.kind,
            dataset_name=f"{TASK_LABELS[task]} prompts of the run's test split",
            dataset_config=task,  # what tells tasks apart for the Hub, which ignores task_name
            dataset_split="test",
            metric_type=name,
            metric_name=label_metric(name),
            metric_value=round(value.trained, 6),
        )
        for task, metrics in (evaluation.metrics if evaluation else {}).items()
        for name, value in metrics.items()
    ]
