"""Outside benchmarks: a real command on real model folders, its results, and what they decide."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perpo_core.report.benchmarks import build_benchmark_rows, describe_change
from perpo_core.stages import evaluate
from perpo_core.stages.evaluate import benchmarks
from perpo_core.stages.evaluate.benchmarks.child import find_model
from perpo_core.stages.evaluate.benchmarks.reading import read_results
from perpo_core.stages.promote.gates import compute_gates, decide
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.keys import compute_hash, hash_folder
from schemas.benchmark_config import BenchmarkConfig
from schemas.benchmarks import BenchmarkMetric
from schemas.config import EvaluateConfig, PromoteConfig
from schemas.run import PolicyRef
from tests.perpo_core.stages.evaluate import harness
from tests.perpo_core.stages.evaluate.test_evaluate import build_setting, commit_checkpoint

ACCURACY = "pope/pope_accuracy"


def build_benchmark(root: Path, kind: str, **settings: Any) -> BenchmarkConfig:
    """The command as a user would write it."""
    formats = {
        "json": "json",
        "status": "vlmevalkit",
        "tables": "vlmevalkit",
        "error": "vlmevalkit",
    }
    command = [sys.executable, harness.__file__, kind, "{model}", "{output}"]
    fields = {"command": command, "format": formats.get(kind, "lmms-eval")}
    env = {"CALLS": str(root / "calls")}
    return BenchmarkConfig.model_validate(fields | {"env": env, "folder": root} | settings)


def with_benchmarks(context: StageContext, **named: BenchmarkConfig) -> StageContext:
    settings = context.config.evaluate.model_copy(update={"benchmarks": named})
    return replace(context, config=context.config.model_copy(update={"evaluate": settings}))


def count_calls(root: Path) -> int:
    path = root / "calls"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def setting(tmp_path: Path, policy: Any) -> StageContext:
    return build_setting(tmp_path, policy, "transformers")[0]


def test_both_policies_are_scored_once_and_the_base_never_again(tmp_path, policy, asked):
    context, samples = build_setting(tmp_path, policy, "transformers")
    first = commit_checkpoint(context, policy.folder, "first")
    without = find_or_make(context, evaluate, samples, first).artifact
    pope = build_benchmark(tmp_path, "lmms-eval", metrics={ACCURACY: "higher"})
    context = with_benchmarks(context, pope=pope)
    result = find_or_make(context, evaluate, samples, first)
    assert not result.reused
    assert result.artifact.benchmarks == {
        "pope": {
            ACCURACY: BenchmarkMetric(
                base=0.75, trained=0.625, base_stderr=0.05, trained_stderr=0.05, better="higher"
            )
        }
    }
    assert result.artifact.digest == without.digest, "the digest is of the answers"
    assert count_calls(tmp_path) == 2
    assert find_or_make(context, evaluate, samples, first).reused

    second = commit_checkpoint(context, policy.folder, "second")
    find_or_make(context, evaluate, samples, second)
    assert count_calls(tmp_path) == 3, "the base's scores are in the store already"

    # Other metrics of what was measured cost no run; a wrong name says which there are.
    more = pope.model_copy(update={"metrics": {"pope/pope_yes_ratio": "lower"}})
    report = find_or_make(with_benchmarks(context, pope=more), evaluate, samples, first).artifact
    assert report.benchmarks["pope"]["pope/pope_yes_ratio"].base_stderr is None
    for wrong, why in (("pope/acc", "pope/pope_accuracy, pope/pope_yes_ratio"),
                       ("pope/pope_f1,strict", "is nan and no finite number")):  # fmt: skip
        asking = pope.model_copy(update={"metrics": {wrong: "higher"}})
        with pytest.raises(ValueError, match=f"evaluate.benchmarks.pope: {wrong} .*{why}"):
            find_or_make(with_benchmarks(context, pope=asking), evaluate, samples, first)
    assert count_calls(tmp_path) == 3


def test_the_log_and_the_results_lie_in_the_store(tmp_path, setting):
    config = build_benchmark(tmp_path, "lmms-eval")
    warnings: list[str] = []
    context = replace(with_benchmarks(setting, pope=config), log=warnings.append)
    made = benchmarks.run_all(context, context.policy, "base")["pope"]
    folder = context.store.folder("benchmark", made.key)
    assert "answering 3 questions HF_HUB_OFFLINE = 1" in (folder / "benchmark.log").read_text()
    assert [file.path for file in made.files] == [
        "scores.json", "output/checkpoint__model/20260101_000000_results.json",
    ]  # fmt: skip
    assert json.loads((folder / "scores.json").read_text())["scores"][ACCURACY]["value"] == 0.75
    assert (
        warnings[-1] == "warning: pope says nan of pope/pope_f1,strict, which is no finite number"
    )
    assert context.store.find("benchmark", made.key) == made
    assert made.unread == {"pope/pope_f1,strict": "nan"}

    # Made anew it is the same artifact by content, although the results say when they were made.
    again = benchmarks.run_all(replace(context, force=True), context.policy, "base")["pope"]
    assert again.attempt == 1 and again.digest == made.digest


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("status", {"MMBench_DEV_EN/split=none|Overall": 0.75,
                    "MMBench_DEV_EN/split=none|AR": 0.5}),
        ("tables", {"MMBench_DEV_EN/split=none|Overall": 0.75,
                    "MMBench_DEV_EN/split=none|AR": 0.5,
                    "OCRBench/Final Score": 600.0, "OCRBench/Final Score Norm": 1.0}),
        ("json", {"count/right": 0.75}),
    ],
)  # fmt: skip
def test_every_format_is_read(tmp_path, setting, kind, expected):
    context = with_benchmarks(setting, own=build_benchmark(tmp_path, kind))
    made = benchmarks.run_all(context, context.policy, "base")["own"]
    assert {name: score.value for name, score in made.scores.items()} == expected
    paths = [file.path for file in made.files]
    assert len(paths) == (3 if kind == "tables" else 2) == len(set(paths)), "links are no files"
    assert (made.scores["count/right"].stderr if kind == "json" else 0.01) == 0.01


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        ("fail", {}, "its command ended with exit status 1; its last line is "
                     "'CUDA error: no kernel image', look into .*benchmark.log"),
        ("none", {}, "has no new file like .*results.*; its last line is "
                     "'Error during evaluation: no module named decord'"),
        ("error", {}, "status.json has no metrics of MMBench_DEV_EN: no such file: MMBench_DEV_EN"),
        ("slow", {"timeout_s": 2}, r"its command was ended after 2 s \(timeout_s\)"),
        ("none", {"command": ["no-such-harness", "{model}", "{output}"]},
         "there is no program no-such-harness; name the one of the environment"),
        ("json", {"results": "other*.json"}, r"has no new file like other\*.json"),
    ],
)  # fmt: skip
def test_what_fails_is_one_sentence(tmp_path, setting, kind, settings, sentence):
    context = with_benchmarks(setting, own=build_benchmark(tmp_path, kind, **settings))
    with pytest.raises(ValueError, match=f"^evaluate.benchmarks.own: .*{sentence}") as caught:
        benchmarks.run_all(context, context.policy, "base")
    assert "\n" not in str(caught.value)


def test_results_of_an_earlier_try_do_not_count(tmp_path, setting):
    """What a killed run left is there for the command to go on from, not to be read."""
    config = build_benchmark(tmp_path, "none")
    context = with_benchmarks(setting, own=config)
    key = benchmarks.compute_key(config, context.policy)
    output = context.store.open_workspace("benchmark", key).folder / "output"
    harness.write_lmms_eval(output, 0.9)
    old = output / "checkpoint__model" / "20260101_000000_results.json"
    os.utime(old, (1, 1))
    with pytest.raises(ValueError, match="has no new file"):
        benchmarks.run_all(context, context.policy, "base")
    assert old.is_file()
    assert read_results(output, "lmms-eval", None).scores[ACCURACY].value == 0.9


def test_settings_are_a_file_with_the_folders_in_it(tmp_path, setting):
    """As VLMEvalKit wants a local model."""
    look = (
        "import json, sys; said = json.load(open(sys.argv[1])); print(said);"
        "open(said['work_dir'] + '/own.json', 'w').write(json.dumps({'layers': json.load(open("
        "said['model']['policy']['model_path'] + '/config.json'))['text_config']"
        "['num_hidden_layers']}))"
    )
    settings = {"model": {"policy": {"class": "Qwen2VLChat", "model_path": "{model}"}},
                "work_dir": "{output}"}  # fmt: skip
    command = [sys.executable, "-c", look, "{settings}"]
    config = build_benchmark(tmp_path, "json", command=command, settings=settings)
    context = with_benchmarks(setting, own=config)
    made = benchmarks.run_all(context, context.policy, "base")["own"]
    assert made.scores["layers"].value > 0


def test_an_adapter_is_merged_into_what_it_goes_onto(tmp_path, policy):
    """The folder holds whole weights, and what else the policy has but the note of its base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import load_file

    from perpo_core.policy.loading import load_policy, save_adapter
    from perpo_core.store.base import write_base

    model, _ = load_policy(policy.folder, "float32")
    settings = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"])
    adapted = get_peft_model(model, settings)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(weight, 0.01)
    folder = tmp_path / "policy"
    state = get_peft_model_state_dict(adapted)
    save_adapter(state, settings.to_dict(), folder / "adapter", torch.float32)
    for path in policy.folder.iterdir():
        if path.is_file() and path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    write_base(folder, policy.digest)
    onto = PolicyRef(digest=hash_folder(folder), folder=folder, base=policy)
    found = find_model(onto, "float32", tmp_path / "scratch")
    assert not (found / "policy.json").exists() and (found / "config.json").is_file()
    assert harness.score(found) == harness.BASE
    [merged], [start] = (
        [load_file(path) for path in f.glob("*.safetensors")] for f in (found, policy.folder)
    )
    changed = {name for name in start if not torch.equal(merged[name], start[name].float())}
    assert changed and all("q_proj" in name for name in changed)
    assert find_model(onto, "float32", tmp_path / "scratch") == found
    assert find_model(policy, "float32", tmp_path / "scratch") == policy.folder


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"command": ["run", "{output}"]}, "does not name the model's folder; write {model}"),
        ({"command": ["run", "{model}"]}, "command does not name the folder of its results"),
        ({"command": ["run", "{settings}"]}, "command does not name the model's folder"),
        ({"settings": {"a": "{model}"}}, "settings and {settings} in command belong together"),
    ],
)  # fmt: skip
def test_a_command_has_to_say_where_its_folders_go(tmp_path, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_benchmark(tmp_path, "json", **settings)


def build_metric(base: float, trained: float, **fields: Any) -> BenchmarkMetric:
    return BenchmarkMetric(base=base, trained=trained, **fields)


def test_a_fall_by_more_than_allowed_fails_the_gate():
    config = PromoteConfig(
        min_gain={}, max_loss={}, max_loss_benchmarks={"pope": {"acc": 0.25, "errors": 2}}
    )
    values = {
        "acc": build_metric(0.75, 0.5, better="higher"),
        "errors": build_metric(10, 12.5, better="lower"),
    }
    gates = compute_gates(config, {}, benchmarks={"pope": values})
    assert [(gate.task, gate.metric, gate.passed) for gate in gates] == [
        ("benchmark pope", "acc", True), ("benchmark pope", "errors", False),
    ]  # fmt: skip
    assert gates[1].measured == -2.5
    assert not decide(gates) and decide(gates[:1])
    worse = {"acc": build_metric(0.75, 0.499, better="higher")}
    assert not compute_gates(config, {}, benchmarks={"pope": worse})[0].passed
    assert compute_gates(config, {}, "champion", {"pope": worse})[0].against == "champion"


def test_a_change_is_held_against_two_combined_errors():
    """Of 0.03 and 0.04 together 0.05."""
    errors = {"base_stderr": 0.03, "trained_stderr": 0.04}
    at = build_metric(0.5, 0.6, better="higher", **errors)
    assert at.combined_stderr == pytest.approx(0.05, abs=1e-15)
    assert describe_change(build_metric(0.5, 0.59, **errors)) == "within 2 errors (0.100)"
    assert describe_change(build_metric(0.5, 0.61, **errors)) == "beyond 2 errors (0.100)"
    better = build_metric(0.5, 0.61, better="higher", **errors)
    assert describe_change(better) == "beyond 2 errors (0.100): better"
    lower = build_metric(0.5, 0.61, better="lower", **errors)
    assert describe_change(lower) == "beyond 2 errors (0.100): worse"
    assert describe_change(build_metric(0.5, 0.61)) == "no errors given"
    [row] = build_benchmark_rows({"pope": {"acc": lower}})
    assert (row.base, row.trained, row.change) == ("0.500 ± 0.030", "0.610 ± 0.040", "+0.110")


def test_without_benchmarks_keys_and_files_are_as_before(tmp_path, policy, asked):
    context, samples = build_setting(tmp_path, policy, "transformers")
    checkpoint = commit_checkpoint(context, policy.folder, "first")
    report = find_or_make(context, evaluate, samples, checkpoint).artifact
    assert "benchmarks" not in report.model_dump_json()
    assert EvaluateConfig().benchmarks == {} and PromoteConfig().max_loss_benchmarks == {}
    assert benchmarks.compute_key(
        build_benchmark(tmp_path, "json"), policy
    ) != benchmarks.compute_key(build_benchmark(tmp_path, "status"), policy)
    one, other = (build_benchmark(tmp_path, "json", timeout_s=t) for t in (1, 2))
    assert benchmarks.compute_key(one, policy) == benchmarks.compute_key(other, policy)
    another = policy.model_copy(update={"digest": compute_hash("another")})
    assert benchmarks.compute_key(one, policy) != benchmarks.compute_key(one, another)
