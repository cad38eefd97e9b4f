"""Is a folder a policy we can sample and train? Answered from its files, without loading the model.

Weights are checked by their safetensors headers (a truncated download or a git-lfs pointer shows),
the chat template by rendering it, in jinja2's sandbox, with and without an image: a template that
loses the image trains a blind model without a word.
"""

from __future__ import annotations

import json
import re
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from perpo_core.doctor.findings import Finding
from perpo_core.perception.boxes import BOX_FORMATS, Frame
from perpo_core.perception.find_answer import has_tags
from perpo_core.policy.adapters import CONFIG_FILE, WEIGHTS_FILE
from perpo_core.process.troubles import explain
from perpo_core.store.base import POLICY_FILE
from schemas.run import ADAPTER

# Families whose parts we know -> the box formats their models write.
FAMILIES = {
    "idefics3": (), "smolvlm": (), "llava_next": (), "llava_onevision": (),
    "llava": ("norm1_padded",),
    "qwen2_vl": ("norm1000",),
    "qwen2_5_vl": ("pixels_resized",),
    "qwen3_vl": ("norm1000",),
}  # fmt: skip
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
INDEX_FILE = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100 << 20  # the safetensors format's own limit
ANY_FRAME = Frame(100, 100, 100, 100)
LOCATION_TOKEN = re.compile(r"<[^<>\s]*[0-9]>")
PROBE_TEXT = "Where is the 7?"
# Marks the trainable part for transformers, which adds it to jinja2; it prints nothing.
GENERATION_TAG = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")


def check_policy_folder(folder: Path, box_format: str | None = None) -> list[Finding]:
    """Everything that can be seen without loading; `box_format` is the configured one."""
    if not folder.is_dir():
        return [Finding("error", f"policy: {folder} is no folder; correct policy.model")]
    checks = (_check_family, _check_weights, _check_tokenizer, _check_processor, _check_template)
    problems: list[Finding] = []
    for check in checks:
        try:
            what = check(folder)
        except (OSError, UnicodeDecodeError) as error:
            what = f"a file cannot be read ({explain(error)})"
        if what:
            problems.append(Finding("error", f"policy {folder}: {what}"))
    if not problems:
        problems += _check_box_format(folder, box_format) + _check_lost_tokens(folder, box_format)
    return problems or [Finding("ok", f"policy {folder}: {load_model_type(folder)}, complete")]


def load_model_type(folder: Path) -> str:
    """`model_type` of the folder's config.json; "" where there is none."""
    config = _load_json(folder / "config.json")
    return str(config.get("model_type", "")) if isinstance(config, dict) else ""


def load_special_tokens(folder: Path) -> set[str]:
    """Texts the tokenizer reads as single special tokens; a prompt must hold none of them."""
    tokenizer = _load_json(folder / "tokenizer.json") or {}
    added = list(tokenizer.get("added_tokens", []))
    added += (_load_tokenizer_config(folder).get("added_tokens_decoder") or {}).values()
    return {token["content"] for token in added if token.get("special") and token["content"]}


def load_chat_template(folder: Path) -> str | None:
    """The chat template, looked for where transformers looks, in its order."""
    plain = folder / "chat_template.jinja"
    if plain.is_file():
        return plain.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        holder = _load_json(folder / name)
        template = holder.get("chat_template") if isinstance(holder, dict) else None
        if isinstance(template, list):  # several by name
            template = {item["name"]: item["template"] for item in template}.get("default")
        if isinstance(template, str):
            return template
    return None


def render_chat(template: str, parts: list[dict[str, Any]], names: dict[str, Any]) -> str:
    """One user turn through a chat template, as transformers renders it, but sandboxed."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = _raise_template_error
    environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
    compiled = environment.from_string(GENERATION_TAG.sub("", template))
    messages = [{"role": "user", "content": parts}]
    return compiled.render(messages=messages, add_generation_prompt=True, **names)


def _check_family(folder: Path) -> str | None:
    if not (folder / "config.json").is_file():
        return "config.json is missing; give the folder of a transformers model"
    model_type = load_model_type(folder)
    if model_type in FAMILIES:
        return None
    return (
        f"config.json has model_type {model_type!r}, which is no known family "
        f"({', '.join(FAMILIES)}); choose a model of one of them"
    )


def _check_weights(folder: Path) -> str | None:
    """Or the adapter in their place; the base that it goes onto was told by its content."""
    adapter = folder / ADAPTER
    if (folder / POLICY_FILE).is_file():
        whole = (adapter / WEIGHTS_FILE).is_file() and is_whole_safetensors(adapter / WEIGHTS_FILE)
        whole = whole and (adapter / CONFIG_FILE).is_file()
        return None if whole else f"its {ADAPTER} is incomplete; restore it, or name another policy"
    if (folder / INDEX_FILE).is_file():
        index = _load_json(folder / INDEX_FILE)
        weight_map = index.get("weight_map") if isinstance(index, dict) else None
        if not weight_map:
            return f"{INDEX_FILE} is damaged; download the model again"
        files = [folder / name for name in sorted(set(weight_map.values()))]
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        return "there are no *.safetensors weights; convert or download them"
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        return f"weights {missing[0]} are missing; download the model again"
    damaged = [file.name for file in files if not is_whole_safetensors(file)]
    if damaged:
        return f"weights {damaged[0]} are incomplete or no safetensors; download the model again"
    return None


def is_whole_safetensors(file: Path) -> bool:
    """Whether the file is as long as its header says (https://github.com/huggingface/safetensors)."""
    with file.open("rb") as handle:
        start = handle.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else MAX_HEADER_BYTES + 1
        header_bytes = handle.read(length) if length <= MAX_HEADER_BYTES else b""
    try:
        header = json.loads(header_bytes)
        ends = [item["data_offsets"][1] for name, item in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return False
    return file.stat().st_size == 8 + length + max(ends, default=0)


def _check_tokenizer(folder: Path) -> str | None:
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return f"there is no tokenizer ({', '.join(TOKENIZER_FILES)}); copy it into the folder"
    try:
        load_tokenizer(folder)
    except Exception as error:  # the tokenizers library raises nothing narrower
        return f"tokenizer.json is damaged ({error}); download the model again"
    return None


def load_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer without transformers; None where the folder has no tokenizer.json."""
    path = folder / "tokenizer.json"
    return Tokenizer.from_file(str(path)) if path.is_file() else None


def _check_processor(folder: Path) -> str | None:
    if any((folder / name).is_file() for name in PROCESSOR_FILES):
        return None
    return f"there is no image processor ({', '.join(PROCESSOR_FILES)}); copy it into the folder"


def _check_template(folder: Path) -> str | None:
    template = load_chat_template(folder)
    if template is None:
        return "there is no chat template; add chat_template.jinja"
    names = _find_template_names(folder)
    text = {"type": "text", "text": PROBE_TEXT}
    try:
        with_image = render_chat(template, [{"type": "image"}, text], names)
        without_image = render_chat(template, [text], names)
    except jinja2.TemplateError as error:
        return f"the chat template cannot be rendered ({error}); correct it"
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        return f"the chat template fails on a message with an image ({error}); correct it"
    if with_image == without_image:
        return "the chat template loses the image: with and without one it renders the same text"
    if PROBE_TEXT not in with_image:
        return "the chat template loses the question beside an image; correct it"
    return None


def _find_template_names(folder: Path) -> dict[str, Any]:
    """bos_token and its like, which templates may print."""
    config = _load_tokenizer_config(folder)
    tokens = {name: value for name, value in config.items() if name.endswith("_token")}
    return {
        name: value["content"] if isinstance(value, dict) else value
        for name, value in tokens.items()
    }


def _check_box_format(folder: Path, box_format: str | None) -> list[Finding]:
    usual = FAMILIES[load_model_type(folder)]
    if box_format is None or not usual or box_format in usual:
        return []
    return [
        Finding(
            "warning",
            f"policy {folder}: {load_model_type(folder)} models write boxes as {usual[0]}, "
            f"policy.box_format is {box_format}: unless this one was trained so, IoU stays near 0",
        )
    ]


def _check_lost_tokens(folder: Path, box_format: str | None) -> list[Finding]:
    """Special tokens are no part of an answer's text, so nothing can be read of them."""
    special = load_special_tokens(folder)
    box = BOX_FORMATS[box_format].write((0.25, 0.25, 0.5, 0.5), ANY_FRAME) if box_format else ""
    lost = [token for token in LOCATION_TOKEN.findall(box) if token in special]
    lost += sorted(filter(has_tags, special))
    if not lost:
        return []
    return [
        Finding(
            "warning",
            f"policy {folder}: the tokenizer counts {lost[0]} as a special token, so answers lose "
            'it before they are read; set "special": false for it and its like in tokenizer.json '
            "and tokenizer_config.json",
        )
    ]


def _load_tokenizer_config(folder: Path) -> dict[str, Any]:
    config = _load_json(folder / "tokenizer_config.json")
    return config if isinstance(config, dict) else {}


def _load_json(path: Path) -> Any:
    """The file's JSON; None where there is no file, or no JSON in it."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _raise_template_error(message: str) -> None:
    raise jinja2.TemplateError(message)
