"""The benchmark of nights over many photos ends well and says what it is for, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_short_nights_end_in_one_json_object() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.scale", "--image-bytes", "10000"]
    done = subprocess.run(
        [*command, "--photos", "1000"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["photos"], result["answers"]) == (1000, 8000)
    stages = ["collect", "generate", "score", "materialize"]
    assert all(0 < result["share_of_bytes"][stage] < 0.5 for stage in stages)
    assert list(result["exponent"]) == stages and result["is_within_memory"]
