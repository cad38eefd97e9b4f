"""The doctor: every kind of trouble is found before any work, and without loading a model."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from perpo_core.doctor import check_run, has_errors
from perpo_core.doctor.policy import check_policy_folder
from perpo_core.stages import collect
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.store import Store
from schemas.config import GenerateConfig, PolicyConfig, RefreshConfig
from schemas.run import PolicyRef
from schemas.train_config import TrainConfig
from tests.perpo_core.cases import make_row, write_source
from tests.perpo_core.tiny_processors import write_character_policy

pytestmark = pytest.mark.usefixtures("measured_here")

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}:"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endfor %}{% generation %}{% if add_generation_prompt %}assistant:{% endif %}"
    "{% endgeneration %}"
)


def _write_safetensors(path: Path, num_bytes: int = 16) -> None:
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [num_bytes // 4], "data_offsets": [0, num_bytes]}}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(num_bytes))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A complete policy folder of a known family; every character is one token."""
    folder = write_character_policy(tmp_path / "policy", TEMPLATE)
    _write_safetensors(folder / "model.safetensors")
    return folder


def _build(tmp_path: Path, **sections: Any) -> RefreshConfig:
    return RefreshConfig(store=tmp_path / "store", min_free_disk_gb=0, **sections)


def _find(config: RefreshConfig, policy: Path, level: str) -> list[str]:
    return [finding.what for finding in check_run(config, policy) if finding.level == level]


def test_all_is_well(tmp_path: Path, policy: Path) -> None:
    config = _build(tmp_path)
    assert _find(config, policy, "error") == _find(config, policy, "warning") == []
    assert not (tmp_path / "store").exists()  # looking changes nothing


def test_it_imports_no_torch(policy: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from perpo_core.doctor import check_run\n"
        "from schemas.config import RefreshConfig\n"
        f"check_run(RefreshConfig(store=Path({str(tmp_path)!r})), Path({str(policy)!r}))\n"
        "print([m for m in ('torch', 'vllm', 'prefect', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_contradicting_settings(tmp_path: Path, policy: Path) -> None:
    config = _build(
        tmp_path,
        generate=GenerateConfig(max_tokens=512, num_candidates=4),
        source={"kind": "digits", "selection": {"ocr": 5}, "validation": {"ocr": 5}, "train": {}},
    )
    errors = "\n".join(_find(config, policy, "error"))
    assert "generate.max_tokens (512) must be less than policy.max_model_len (512)" in errors
    assert "the train split is empty; raise source.train" in errors
    warnings = "\n".join(_find(config, policy, "warning"))
    assert "lists.list_size (16) is more than generate.num_candidates (4)" in warnings
    assert "train.eval_prompts (384) is more than the 5 selection samples" in warnings
    assert "nothing can be promoted: promote.min_gain names only grounding" in warnings


def test_shares_that_leave_nothing_to_train_on(tmp_path: Path, policy: Path) -> None:
    source = write_source(tmp_path, [make_row()], validation_share=0.5, test_share=0.5)
    errors = _find(_build(tmp_path, source=source), policy, "error")
    assert any("leave nothing to train on" in error for error in errors)
    assert any("train split is empty" in error for error in errors)


def test_disk(tmp_path: Path, policy: Path) -> None:
    config = RefreshConfig(store=tmp_path / "a" / "b", min_free_disk_gb=1e6)
    [error] = _find(config, policy, "error")
    assert "GB free at" in error and "asks for 1e+06" in error
    (tmp_path / "file").write_text("")
    config = _build(tmp_path).model_copy(update={"store": tmp_path / "file" / "store"})
    assert "cannot be written" in _find(config, policy, "error")[0]


def test_every_bad_row_is_an_error_or_a_warning_where_rows_may_be_dropped(
    tmp_path: Path, policy: Path
) -> None:
    rows = [make_row(split="train"), "not JSON", make_row(box=[1, 1, 90, 9]), make_row(prompt="")]
    source = write_source(tmp_path / "data", rows)
    errors = _find(_build(tmp_path, source=source), policy, "error")
    assert [error.split(": ")[1].rpartition(" ")[2] for error in errors] == ["2", "3", "4"]
    source = source.model_copy(update={"on_bad_row": "drop"})
    findings = check_run(_build(tmp_path, source=source), policy)
    assert not has_errors(findings)
    assert sum(": not a JSON object" in finding.what for finding in findings) == 1


def test_many_bad_rows_are_counted(tmp_path: Path, policy: Path) -> None:
    source = write_source(tmp_path / "data", ["x"] * 50 + [make_row(split="train")])
    errors = _find(_build(tmp_path, source=source), policy, "error")
    assert len(errors) == 21 and "50 bad rows in all: 50 x malformed row" in errors[-1]


def test_a_missing_source_file(tmp_path: Path, policy: Path) -> None:
    source = write_source(tmp_path / "data", [make_row()])
    source.files[0].unlink()
    [error] = _find(_build(tmp_path, source=source), policy, "error")
    assert "there is no such file" in error


def test_prompts_and_truths_are_held_against_the_model(tmp_path: Path, policy: Path) -> None:
    rows = [
        make_row(prompt="Where is <eot> here?", split="train"),
        make_row(task="ocr", box=None, prompt="Read.", answer="x" * 60, split="train"),
        make_row(prompt="y" * 500, split="train"),
        make_row(prompt="Where is the cat?", split="train"),
        make_row(prompt="Where is the cat?", box=[1, 1, 9, 9], split="train"),
    ]
    config = _build(tmp_path, source=write_source(tmp_path / "data", rows))
    errors = _find(config, policy, "error")
    assert len(errors) == 2
    assert "data/cases.jsonl:1: the prompt contains '<eot>'" in errors[0]
    assert "data/cases.jsonl row 3 is too long: prompt and image take 550 tokens" in errors[1]
    warnings = "\n".join(_find(config, policy, "warning"))
    assert (
        "1 of 1 true texts are longer than generate.max_tokens (40), the longest has 61" in warnings
    )
    assert "first data/cases.jsonl:5 after data/cases.jsonl:4" in warnings


def test_rows_are_not_read_again_when_their_samples_are_in_the_store(
    tmp_path: Path, policy: Path
) -> None:
    config = _build(tmp_path, source=write_source(tmp_path / "data", [make_row(split="train")]))
    ref = PolicyRef(digest="0" * 64, folder=policy)
    find_or_make(StageContext(Store(config.store), config, ref), collect)
    assert any("unchanged since" in what for what in _find(config, policy, "ok"))
    (tmp_path / "data" / "images" / "0.png").write_bytes(b"")
    assert any("row 1" in what for what in _find(config, policy, "error"))


def test_further_references_are_held_against_the_policy(tmp_path: Path, policy: Path) -> None:
    same = shutil.copytree(policy, tmp_path / "same")
    other = shutil.copytree(policy, tmp_path / "other")
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(other / "tokenizer.json"))
    damaged = shutil.copytree(policy, tmp_path / "damaged")
    (damaged / "model.safetensors").unlink()

    def find(*folders: Path) -> list[str]:
        references = [str(folder) for folder in folders]
        train = TrainConfig(objective="mrpo", extra_references=references)
        return _find(_build(tmp_path, train=train), policy, "error")

    assert find(same) == []
    [tokens, weights] = find(other, same, damaged)
    assert f"reference {other}: its tokens are not those of the policy" in tokens
    assert f"{damaged}: there are no *.safetensors weights" in weights
    [missing] = find(tmp_path / "none")
    assert "train.extra_references = " in missing and "neither a folder nor a model" in missing


def test_the_base_is_held_against_the_policy_where_it_is_the_reference(
    tmp_path: Path, policy: Path
) -> None:
    other = shutil.copytree(policy, tmp_path / "other")
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(other / "tokenizer.json"))
    based = PolicyConfig(base=str(other))
    errors = [
        _find(_build(tmp_path, policy=based, train=TrainConfig(reference=name)), policy, "error")
        for name in ("start", "base")
    ]
    assert errors[0] == []
    assert f"reference {other}: its tokens are not those of the policy" in errors[1][0]


def test_packages_that_are_the_users_to_install(tmp_path: Path, policy: Path) -> None:
    train = TrainConfig(trackers=["tensorboard", "mlflow"])
    [error] = _find(_build(tmp_path, train=train), policy, "error")
    assert error == (
        "train.trackers: mlflow needs the package mlflow; pip install it, or change this"
    )


def _drop(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def _write(name: str, text: str) -> Any:
    return lambda folder: (folder / name).write_text(text)


def _truncate_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def _shard_weights(folder: Path) -> None:
    weight_map = {"a": "model.safetensors", "b": "model-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_drop("config.json"), "config.json is missing"),
        (_write("config.json", "{"), "model_type ''"),
        (_write("config.json", '{"model_type": "gpt2"}'), "model_type 'gpt2', which is no known"),
        (_drop("model.safetensors"), "no *.safetensors weights"),
        (_truncate_weights, "model.safetensors are incomplete"),
        (_write("model.safetensors", "version https://git-lfs.github.com/spec/v1"), "incomplete"),
        (_write("model.safetensors", ""), "incomplete"),
        (_shard_weights, "model-00002.safetensors are missing"),
        (_drop("tokenizer.json"), "there is no tokenizer"),
        (_write("tokenizer.json", "{}"), "tokenizer.json is damaged"),
        (_drop("processor_config.json"), "there is no image processor"),
        (_drop("chat_template.jinja"), "there is no chat template"),
        (_write("chat_template.jinja", "{% for %}"), "cannot be rendered"),
        (_write("chat_template.jinja", "{{ ''.__class__.__mro__ }}"), "cannot be rendered"),
        (_write("chat_template.jinja", "{{ raise_exception('no images') }}"), "no images"),
        (_write("chat_template.jinja", "{{ messages[0].content + 'x' }}"), "fails on a message"),
        (_write("chat_template.jinja", "{{ messages[0].content[-1].text }}"), "loses the image"),
        (_write("chat_template.jinja", "{{ messages[0].content | length }}"), "loses the question"),
    ],
)
def test_a_spoiled_policy_folder(policy: Path, spoil: Any, words: str) -> None:
    spoil(policy)
    [finding] = check_policy_folder(policy)
    assert finding.level == "error" and words in finding.what
    assert str(policy) in finding.what and "\n" not in finding.what


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    [finding] = check_policy_folder(tmp_path / "nothing")
    assert finding.level == "error" and "is no folder" in finding.what


@pytest.mark.parametrize("name", ["chat_template.json", "processor_config.json"])
def test_templates_in_older_places_are_found(policy: Path, name: str) -> None:
    (policy / "chat_template.jinja").unlink()
    (policy / name).write_text(json.dumps({"chat_template": TEMPLATE}))
    assert [finding.level for finding in check_policy_folder(policy)] == ["ok"]


@pytest.mark.parametrize(
    ("token", "box_format"), [("<loc_250>", "loc1000"), ("[THINK]", None), ("</think>", "norm1")]
)
def test_tokens_that_answers_lose_are_named(
    policy: Path, token: str, box_format: str | None
) -> None:
    (policy / "config.json").write_text('{"model_type": "idefics3"}')
    config = {"added_tokens_decoder": {"9": {"content": token, "special": True}}}
    (policy / "tokenizer_config.json").write_text(json.dumps(config))
    [finding] = check_policy_folder(policy, box_format)
    assert finding.level == "warning" and token in finding.what
    config["added_tokens_decoder"]["9"]["special"] = False
    (policy / "tokenizer_config.json").write_text(json.dumps(config))
    assert [found.level for found in check_policy_folder(policy, box_format)] == ["ok"]


def test_an_unusual_box_format_is_doubted(tmp_path: Path, policy: Path) -> None:
    (policy / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    config = _build(tmp_path, policy=PolicyConfig(box_format="norm1"))
    [warning] = _find(config, policy, "warning")
    assert "pixels_resized" in warning and "norm1" in warning
    assert check_policy_folder(policy, "pixels_resized")[0].level == "ok"
