"""How to load an exported folder: snippets that run as they stand, and how boxes are written."""

from __future__ import annotations

import json

from perpo_core.export.facts import CardFacts
from perpo_core.perception.tasks import TASKS
from perpo_core.policy.adapters import find_size
from perpo_core.report.markdown import build_fence
from schemas.base import BoxFormatName

BOX_FORMAT_SHAPES: dict[BoxFormatName, str] = {
    "norm1_cxcywh": "[x, y, width, height]",
    "norm100": "{<x1><y1><x2><y2>}",
    "norm1000_yxyx": '{"box_2d": [y1, x1, y2, x2]}',
    "loc1024_yxyx": "<loc0256><loc0128><loc0768><loc0512>",
    "loc1000": "<loc_125><loc_250><loc_500><loc_750>",
    "patch32": "<object><patch_index_0260><patch_index_0751></object>",
    "points_percent": '<points x1="12.5" y1="25.0" x2="50.0" y2="75.0">',
}
"""How the numbers stand, where it is not [x1, y1, x2, y2]."""
BOX_FORMAT_WORDS: dict[BoxFormatName, str] = {
    "norm1": "as shares (0 to 1) of the image's width and height",
    "norm1_padded": "as shares (0 to 1) of the image after it was padded, centred, to a square",
    "norm1_cxcywh": "centre and size, as shares (0 to 1) of the image's width and height",
    "norm100": "in hundredths (0 to 100) of the image's width and height",
    "norm999": "as whole numbers from 0 to 999 over the image's width and height",
    "norm999_padded": "as whole numbers from 0 to 999 over the image padded, centred, to a square",
    "norm1000": "in thousandths (0 to 1000) of the image's width and height",
    "norm1000_yxyx": "y before x, in thousandths (0 to 1000) of the image's height and width",
    "pixels": "in pixels of the image",
    "pixels_resized": "in pixels of the image as the processor resized it",
    "loc1024_yxyx": "y before x, each a token that counts 1/1024 of the image's height or width",
    "loc1000": "each a token for 1/1000 of the image's width or height, meant at its centre",
    "patch32": "as both corners' cells in a grid of 32 x 32 over the image, counted row by row",
    "points_percent": "as the points of both corners, in percent of the image's width and height",
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
        rank=find_size(facts.rank),
        start=json.dumps(facts.start_name),
    )
    return ["With vLLM, as an OpenAI-compatible server:", build_fence("sh", command)]


def has_more_than_adapters(facts: CardFacts) -> bool:
    """Whether a LoRA run trained weights outside of the adapters."""
    train = facts.config.train
    return bool(train.projector_learning_rate or train.vision_learning_rate)


def _describe_coordinates(facts: CardFacts) -> list[str]:
    name = facts.config.policy.box_format
    shape = BOX_FORMAT_SHAPES.get(name, "[x1, y1, x2, y2]")
    writes = [TASKS[task].describe_writing for task in facts.tasks]
    written = [describe(shape) for describe in writes if describe]
    return [f"{words}, {BOX_FORMAT_WORDS[name]} (`{name}` in perpo)." for words in written]
