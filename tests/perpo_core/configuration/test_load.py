"""Configuration: what is read, what is overridden, and one sentence for every mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perpo_core.configuration.load import ConfigError, describe_config, load_config
from perpo_core.stages.collect.sources import SOURCES
from schemas.config import RefreshConfig
from schemas.sources import DigitsSource, JsonlSource

KINDS = " or ".join(f'"{kind}"' for kind in SOURCES)


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def _problems(path: Path | None, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_no_file_gives_the_defaults() -> None:
    assert load_config(None, []) == RefreshConfig()


def test_file_and_overrides_in_that_order(tmp_path: Path) -> None:
    path = _write(tmp_path, 'name = "a"\n[train]\nbeta = 0.5\ngamma = 1\n')
    config = load_config(path, ["train.beta=2", "train.objective=sft", "generate.top_p = 0.5"])
    assert (config.name, config.train.gamma, config.train.beta) == ("a", 1, 2)
    assert (config.train.objective, config.generate.top_p) == ("sft", 0.5)


def test_overriding_one_cell_of_a_table_keeps_the_others() -> None:
    config = load_config(None, ["source.train.ocr=5", "promote.max_loss.ocr.greedy_reward=0.5"])
    assert isinstance(config.source, DigitsSource)
    assert config.source.train == {"grounding": 1280, "ocr": 5, "counting": 256}
    assert config.promote.max_loss["counting"] == {"greedy_reward": 0.02}
    assert config.promote.max_loss["ocr"] == {"greedy_reward": 0.5}
    assert RefreshConfig().promote.max_loss["ocr"] == {"greedy_reward": 0.01}  # defaults untouched


def test_a_store_is_a_folder_or_an_address(tmp_path: Path) -> None:
    address = "s3://bucket/prefix"
    assert load_config(None, [f"store={address}"]).store == address
    assert load_config(_write(tmp_path, f'store = "{address}"')).store == address
    assert load_config(None, ["store=stores/a"]).store == Path("stores/a")
    [problem] = _problems(None, "store=3")
    assert problem.startswith('--set "store=3": store = 3 is not allowed; allowed: a text that')
    [field] = [field for field in describe_config() if field.key == "store"]
    assert field.allowed.endswith(" or a path")


def test_files_are_relative_to_the_config_and_overridden_ones_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = _write(tmp_path, '[source]\nkind = "jsonl"\nfiles = ["x/a.jsonl", "/b.jsonl"]\n')
    monkeypatch.chdir(tmp_path / "elsewhere")
    source = load_config(Path("../config.toml"), []).source
    assert isinstance(source, JsonlSource)
    assert [file.resolve() for file in source.files] == [tmp_path / "x/a.jsonl", Path("/b.jsonl")]
    source = load_config(path, ['source.files=["c.jsonl"]']).source
    assert isinstance(source, JsonlSource)
    assert source.files == [tmp_path / "elsewhere" / "c.jsonl"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[train]\nbeta = -1", "train.beta = -1 is not allowed; allowed: a number > 0 and <= 100"),
        ("[train]\nbeta = nan", "train.beta = NaN is not allowed; allowed: a number > 0 and <= "
         "100"),
        (
            '[train]\npairs = "some"',
            'train.pairs = "some" is not allowed; allowed: "best_worst" or "best_rest" or '
            '"adjacent" or "all" or "hardest" or "nearest" or "popular"',
        ),
        ("[train]\nlearningrate = 1", "unknown key train.learningrate (value 1); did you mean "
         "train.learning_rate?"),
        ("beta = 1", "unknown key beta (value 1); did you mean train.beta?"),
        ("[lists.min_gap]\nocr = -2", "lists.min_gap.ocr = -2 is not allowed; allowed: a number "
         ">= 0 and <= 1000"),
        ("[lists.min_gap]\nocr = 2", "lists.min_gap.ocr = 2 is more than two totals of ocr can "
         "differ by, 1; lower it"),
        ("[lists.min_gap]\ndigits = 1", "unknown key lists.min_gap.digits; known "
         "here: counting, detection, extraction, grounding, ocr, pointing, table, vqa"),
        ("[source]\nseed = 1", f"source.kind is missing; allowed: {KINDS}"),
        (
            '[source]\nkind = "csv"',
            f'source.kind = "csv" is not allowed; allowed: {KINDS}',
        ),
        (
            '[source]\nkind = "digits"\nfiles = ["/a"]',
            'unknown key source.files (value ["/a"]); it goes with another source.kind',
        ),
        ('[source]\nkind = "jsonl"', "source.files is missing; give a list of paths with 1 or more "
         "items"),
        ('[source]\nkind = "jsonl"\nfiles = ["a"]\nsed = 1', "unknown key source.sed (value 1); "
         "did you mean source.seed?"),
        ("train = 3", "train = 3 is not allowed; allowed: a section"),
        ("[train]\nprocesses = 16", "train: batch_lists (8) must be at least processes (16), "
         "a list for each"),
        ('[train]\nadapter = "full"\nquantize = "nf4"', "train: quantize = nf4 trains adapters on "
         "frozen 4-bit weights; set adapter = lora or quantize = none"),
        ('[train]\nreference = "base"\nreference_logps = "sampled"', "train: reference_logps = "
         "sampled are those of the policy that sampled the answers, which is reference = start; "
         "set that or reference_logps = computed"),
        ('[train]\nobjective = "mrpo"', "train: objective mrpo needs extra_references, at least "
         "one; with none it is dpo"),
        ('[train]\nextra_references = ["/a"]', "train: extra_references are read by objective mrpo "
         "alone, not by perpo; remove them"),
        ('[train]\nobjective = "mrpo"\nextra_references = ["promoted"]', "train: extra_references "
         'cannot name "promoted", which moves; give a folder'),
        ('[train]\nobjective = "mdpo"\npairs = "all"', "train: objective mdpo compares best_worst; "
         "for other pairs set objective = dpo, conditional_weight = 1 and anchor_weight = 1"),
        ('[train]\nobjective = "mdpo"\nanchor_weight = 2', "train: objective mdpo has its "
         "conditional and anchor terms already, with weight 1; for other weights set objective = "
         "dpo"),
        ('[train]\nobjective = "rosepo"\nsmoothing = "column"', "train: smoothing = column and "
         "smoothing_column, the reward it is read from, go together; set both or neither"),
        ('[train]\nsmoothing_column = "iou"', "train: smoothing = column and smoothing_column, the "
         "reward it is read from, go together; set both or neither"),
    ],
)  # fmt: skip
def test_every_mistake_is_one_sentence_with_file_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = _write(tmp_path, text)
    assert _problems(path) == [f"{path}: {sentence}"]


def test_all_mistakes_are_said_at_once_and_overrides_are_named(tmp_path: Path) -> None:
    path = _write(tmp_path, "[train]\nbeta = -1\n[generate]\ntop_p = 3\n")
    problems = _problems(path, "train.gamma=lots")
    assert len(problems) == 3
    assert '--set "train.gamma=lots": train.gamma = "lots" is not allowed' in "\n".join(problems)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    assert "no such configuration file" in _problems(tmp_path / "none.toml")[0]
    assert "no such configuration file" in _problems(tmp_path)[0]
    assert "line 1" in _problems(_write(tmp_path, "name = = 3"))[0]
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"')
    assert "not UTF-8" in _problems(tmp_path / "latin.toml")[0]


@pytest.mark.parametrize("override", ["train.beta", "=3", "train..beta=3", ".=1"])
def test_an_override_that_is_none_is_refused(override: str) -> None:
    assert _problems(None, override)[0].startswith(f'--set "{override}": write it as')


def test_an_override_cannot_put_keys_into_a_value_nor_smuggle_in_others(tmp_path: Path) -> None:
    path = _write(tmp_path, 'name = "a"')
    assert "name is a value and has no keys" in _problems(path, "name.x=1")[0]
    assert "name = " in _problems(None, 'name="a"\nstore="b"')[0]


def test_every_field_is_described_with_bounds_default_and_words() -> None:
    fields = {field.key: field for field in describe_config()}
    assert fields["train.beta"][1:3] == ("a number > 0 and <= 100", "0.1")
    assert fields["source.kind"][1:3] == (KINDS, '"digits"')
    assert fields["source.files"].default == "required"
    assert fields["train.extra_references"][1:3] == ("a list of texts with 8 or fewer items", "[]")
    assert fields["lists.max_lists"].allowed == "a whole number >= 1, or left out"
    assert [key for key, field in fields.items() if not field.description.strip()] == []


def test_importing_it_is_cheap() -> None:
    code = "import sys, perpo_core.configuration.load; print([m for m in %r if m in sys.modules])"
    heavy = ["torch", "vllm", "prefect", "numpy", "pyarrow", "transformers"]
    done = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
