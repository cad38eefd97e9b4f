"""How to load an exported folder: snippets that run as they stand, and how boxes are written."""

from __future__ import annotations

import json

from perpo_core.export.facts import CardFacts
from perpo_core.perception.tasks import TASKS
from perpo_core.report.markdown import build_fence
from schemas.config import BoxFormatName

BOX_FORMAT_WORDS: dict[BoxFormatName, str] = {
    "norm1": "as shares (0 to 1) of the image's width and height",
    "norm1_padded": "as shares (0 to 1) of the image after it was padded, centred, to a square",
    "norm1000": "in thousandths (0 to 1000) of the image's width and height",
    "pixels": "in pixels of the image",
    "pixels_resized": "in pixels of the image as the processor resized it",
}
LOAD_MODEL = """folder = "."  # this folder, or its name on the Hub
model = AutoModelForImageTextToText.from_pretrained(folder, dtype={dtype})
processor = AutoProcessor.from_pretrained(folder)"""
LOAD_ADAPTER = """from peft import PeftModel

start, folder = {start}, "."  # this folder, or its name on the Hub
model = AutoModelForImageTextToText.from_pretrained(start, dtype={dtype})
model = PeftModel.from_pretrained(model, folder)
processor = AutoProcessor.from_pretrained(start)"""
ANSWER = """from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
{load}

image = Image.open("image.png").convert("RGB")
question = "Where is the cup?"  # worded as in the training data
parts = [{{"type": "image", "image": image}}, {{"type": "text", "text": question}}]
chat = [{{"role": "user", "content": parts}}]
inputs = processor.apply_chat_template(
    chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
inputs = inputs.to(model.device, model.dtype)
output = model.generate(**inputs, max_new_tokens={max_tokens}, do_sample=False)
answer = output[0, inputs["input_ids"].shape[1] :]
print(processor.decode(answer, skip_special_tokens=True))"""
SERVE_MODEL = "vllm serve . --dtype {dtype} --max-model-len {max_model_len}"
SERVE_ADAPTER = """vllm serve {start} --dtype {dtype} --max-model-len {max_model_len} \\
    --enable-lora --max-lora-rank {rank} --lora-modules perpo=."""


def build_usage(facts: CardFacts) -> str:
    """The section "How to load it"."""
    config = facts.config
    values = {
        "dtype": json.dumps(config.policy.dtype),
        "start": json.dumps(facts.start_name),
        "max_tokens": config.generate.max_tokens,
    }
    load = LOAD_ADAPTER if facts.is_adapter else "\n" + LOAD_MODEL
    snippet = ANSWER.format(load=load.format(**values), **values)
    parts = ["With transformers:", build_fence("python", snippet), *_build_serving(facts)]
    return "\n\n".join([*parts, *_describe_coordinates(facts)])


def _build_serving(facts: CardFacts) -> list[str]:
    config = facts.config
    if facts.is_adapter and has_more_than_adapters(facts):
        return [
            "vLLM loads adapters of the language model only, and this one comes with other trained "
            "weights too: serve the merged model instead."
        ]
    command = (SERVE_ADAPTER if facts.is_adapter else SERVE_MODEL).format(
        dtype=config.policy.dtype,
        max_model_len=config.policy.max_model_len,
        rank=config.train.lora_rank,
        start=json.dumps(facts.start_name),
    )
    return ["With vLLM, as an OpenAI-compatible server:", build_fence("sh", command)]


def has_more_than_adapters(facts: CardFacts) -> bool:
    """Whether a LoRA run trained weights outside of the adapters."""
    train = facts.config.train
    return bool(train.projector_learning_rate or train.vision_learning_rate)


def _describe_coordinates(facts: CardFacts) -> list[str]:
    name = facts.config.policy.box_format
    written = [TASKS[task].written_as for task in facts.tasks if TASKS[task].written_as]
    return [f"{words}, {BOX_FORMAT_WORDS[name]} (`{name}` in perpo)." for words in written]
