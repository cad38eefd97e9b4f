"""`perpo judge tune` against vLLM's own server: the built-in policy judges its own answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.configuration.load import load_config
from perpo_core.configuration.words import write_toml_value
from perpo_core.policy.resolve import resolve_policy
from perpo_core.stages import collect, generate, score
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.store import Store
from schemas.judge_tuning import JudgeTuningReport
from tests.flows.whole import run_perpo
from tests.vllm_server import MODEL, serve_builtin

CONFIG = """
store = "{store}"

[source]
kind = "digits"
seed = 6
train = {{ grounding = 5 }}
selection = {{ grounding = 1 }}
validation = {{ grounding = 1 }}
test = {{ grounding = 1 }}

[generate]
num_candidates = 4
processes = 1
threads = 1

[score.grounding]
reward = {{ iou = 1.0, judge = 0.2 }}

[score.grounding.options.judge]
instruction = "judge.txt"
base_url = "{url}"
mode = "order"
model = "{model}"
max_tokens = 16
extra = {extra}
"""
# So small a policy says what it likes; the server holds it to a verdict, and to a paraphrase.
VERDICT = {"structured_outputs": {"regex": "Better: [AB]"}}
WRITTEN = {"structured_outputs": {"regex": "<instruction>[A-Za-z ]{20,40}</instruction>"}}
TUNE = ["--candidates", 3, "--rounds", 2, "--documents", 2, "--check-documents", 2, "--pairs", 2,
        "--writer", f"extra={write_toml_value(WRITTEN)}", "--writer", "max_tokens=128"]  # fmt: skip


def write_config(folder: Path, url: str) -> Path:
    (folder / "judge.txt").write_text("Say which box fits better.\n")
    path = folder / "judged.toml"
    store, extra = folder / "store", write_toml_value(VERDICT)
    path.write_text(CONFIG.format(store=store, url=url, model=MODEL, extra=extra))
    return path


def build_context(path: Path, *overrides: str) -> StageContext:
    config = load_config(path, overrides)
    store = Store(config.store)
    return StageContext(store, config, resolve_policy(config.policy, store))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_judge_is_tuned_end_to_end_and_from_the_store_when_repeated(tmp_path: Path) -> None:
    context = build_context(write_config(tmp_path, "http://127.0.0.1:1/v1"))
    samples = find_or_make(context, collect).artifact
    candidates = find_or_make(context, generate, samples).artifact
    store, to = context.store.root, tmp_path / "fair.txt"
    with serve_builtin(tmp_path) as url:
        path = write_config(tmp_path, url)
        said = run_perpo("judge", "tune", path, "--to", to, *TUNE)
        context = build_context(path, f"score.grounding.options.judge.instruction={to}")
        scores = find_or_make(context, score, samples, candidates).artifact
    assert scores.counts.num_kept == scores.counts.num_in == 20, "what it wrote can be used"
    report = JudgeTuningReport.model_validate_json((tmp_path / "fair.txt.json").read_text())
    assert to.read_text() == report.instruction and report.candidates_key == candidates.key
    assert "Fairness by round" in said and "agrees with iou" in said
    assert len(report.rounds) == 2 and all(each.best.fairness is not None for each in report.rounds)
    assert sum(len(each.tried) for each in report.rounds) > 1, report.rounds
    assert all(each.num_unread == 0 for found in report.rounds for each in found.tried)
    kept = sorted((store / "judge").glob("*/*.json"))

    # The server is gone: a repetition has every reply in the store.
    again = run_perpo("judge", "tune", path, "--to", to, "--overwrite", *TUNE)
    shown = said.index("Fairness by round")
    assert again[again.index("Fairness by round") :] == said[shown:]
    assert sorted((store / "judge").glob("*/*.json")) == kept
