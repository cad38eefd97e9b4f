"""One refresh on SmolVLM-256M's real shapes: 256 million random weights through vLLM and LoRA.

What the weights say is noise; that sampling, packing, training and saving hold for the real
architecture, with a vocabulary of its size and 1,024 patches an image, is what this shows.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.artifact import Checkpoint, PreferenceSet
from tests.flows.smolvlm import write_smolvlm
from tests.flows.whole import load_artifact, load_report, measure_perpo

NUM_PARAMETERS = 256_484_928  # of HuggingFaceTB/SmolVLM-256M-Instruct
FREE_MEMORY_GB = 8.0  # what a refresh may need on a CPU machine
CONFIG = """
name = "smolvlm"
store = "{store}"

[source]
kind = "digits"
train = {{ ocr = 3 }}
validation = {{}}
selection = {{}}  # noise gets no better: with nothing to choose by, the last step is kept
test = {{ ocr = 1 }}

[policy]
model = "{policy}"
dtype = "bfloat16"
max_model_len = 256

[generate]
num_candidates = 6
max_tokens = 48
processes = 1
threads = 1

[lists]
min_gap = {{ grounding = 0, ocr = 0, counting = 0 }}  # noise scores low
list_size = 6

[train]
learning_rate = 1e-4
batch_lists = 1
micro_batch_lists = 1
threads = 1

[evaluate]
num_samples = 2
bootstrap_resamples = 100
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_refresh_of_a_few_prompts_on_the_real_shapes(tmp_path: Path) -> None:
    policy, store, config = tmp_path / "policy", tmp_path / "store", tmp_path / "smolvlm.toml"
    assert write_smolvlm(policy) == NUM_PARAMETERS
    config.write_text(CONFIG.format(store=store, policy=policy))
    said, peak_bytes = measure_perpo("refresh", config)
    print(f"{said}\npeak resident memory {peak_bytes / 1e9:.2f} GB")
    assert peak_bytes < FREE_MEMORY_GB * 1e9
    report = load_report(store)
    assert report["status"] == "completed"
    assert report["metrics"]["ocr"]["edit_distance"]["n"] == 1
    preferences, checkpoint = (load_artifact(store, s) for s in ("materialize", "train"))
    assert isinstance(preferences, PreferenceSet) and isinstance(checkpoint, Checkpoint)
    num_lists = preferences.num_lists["ocr"]
    assert num_lists >= 2, said
    assert [point.step for point in checkpoint.history] == list(range(1, num_lists + 1))
    assert checkpoint.chosen_step == num_lists
    assert checkpoint.history[0].metrics["logps/chosen_change"] == pytest.approx(0, abs=1e-3)
    assert all(point.grad_norm > 0 for point in checkpoint.history)
