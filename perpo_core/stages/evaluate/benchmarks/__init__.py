"""Harnesses of somebody else, lmms-eval or VLMEvalKit or any command, on base and trained.

Each is a command that the user installed, in an environment of its own or not, and that is given a
folder with whole weights. What it says of a policy is an artifact of its own, keyed by the policy's
content and the command, so that the base's scores are not asked for again by the next training, nor
anything after a kill -9 that was finished before it:

    <store>/benchmark/<key>/output/           what the command wrote; it finds it there again
                            benchmark.log     what it said
                            scores.json       what was read of it

Left out: nothing is installed or downloaded, and no harness is imported.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perpo_core.process.parent import run_child
from perpo_core.stages.evaluate.benchmarks.reading import Read, list_names, read_results
from perpo_core.stages.stage import StageContext
from perpo_core.store.atomic import write_atomic
from perpo_core.store.keys import compute_digest
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import describe_producer, utc_now
from perpo_core.store.workspace import Workspace, describe_file
from schemas.artifact import BenchmarkScores, Counts
from schemas.benchmark_config import BenchmarkConfig
from schemas.benchmarks import BenchmarkMetric, Benchmarks, BenchmarkScore
from schemas.run import BenchmarkJob, PolicyRef

KIND = "benchmark"
VERSION = 1
CHILD = "perpo_core.stages.evaluate.benchmarks.child"
LOG, OUTPUT, SCORES = "benchmark.log", "output", "scores.json"
NOT_ASKED = {"metrics", "folder", "timeout_s"}  # of the settings, what changes no score
GRACE_S = 3600  # for merging an adapter into a large model, besides the command's own time
SHOWN_CHARACTERS = 300  # of a log's last line


def run_all(context: StageContext, policy: PolicyRef, name: str) -> dict[str, BenchmarkScores]:
    """What every benchmark says of a policy, from the store where it has that."""
    return {
        benchmark: _run(context, benchmark, config, policy, name)
        for benchmark, config in sorted(context.config.evaluate.benchmarks.items())
    }


def describe(benchmarks: dict[str, BenchmarkConfig]) -> dict[str, Any]:
    """All of them that an evaluation depends on, as JSON."""
    return {
        name: config.model_dump(mode="json", exclude=NOT_ASKED - {"metrics"})
        for name, config in benchmarks.items()
    }


def compute_key(config: BenchmarkConfig, policy: PolicyRef) -> str:
    """The policy and all that the command is told; which of its metrics are wanted is no part."""
    settings = config.model_dump(mode="json", exclude=NOT_ASKED)
    return compute_stage_key(KIND, VERSION, [], {**settings, "policy_digest": policy.digest})


def compare(
    benchmarks: dict[str, BenchmarkConfig],
    base: dict[str, BenchmarkScores],
    trained: dict[str, BenchmarkScores],
) -> Benchmarks:
    """The metrics that are asked for of both policies.

    Raises ValueError, one sentence, where one of them is not there or is no number.
    """
    return {
        name: dict(_compare(name, config, base[name], trained[name]))
        for name, config in sorted(benchmarks.items())
    }


def _compare(
    name: str, config: BenchmarkConfig, base: BenchmarkScores, trained: BenchmarkScores
) -> Iterator[tuple[str, BenchmarkMetric]]:
    for metric in config.metrics or sorted(base.scores.keys() & trained.scores.keys()):
        before, after = (_pick(name, metric, scores) for scores in (base, trained))
        yield (
            metric,
            BenchmarkMetric(
                base=before.value,
                trained=after.value,
                base_stderr=before.stderr,
                trained_stderr=after.stderr,
                better=config.metrics.get(metric),
            ),
        )


def _pick(name: str, metric: str, scores: BenchmarkScores) -> BenchmarkScore:
    if metric in scores.scores:
        return scores.scores[metric]
    where = f"evaluate.benchmarks.{name}: {metric} of the policy {scores.policy_digest[:12]}"
    if metric in scores.unread:
        raise ValueError(
            f"{where} is {scores.unread[metric]} and no finite number; look into {LOG} of the "
            f"benchmark {scores.key[:12]}, or leave that metric out of metrics"
        )
    raise ValueError(
        f"{where} is not there; metrics may name what the results hold: "
        f"{list_names(list(scores.scores))}"
    )


def _run(
    context: StageContext, name: str, config: BenchmarkConfig, policy: PolicyRef, who: str
) -> BenchmarkScores:
    key = compute_key(config, policy)
    found: BenchmarkScores | None = context.find(KIND, key, context.log)
    if found is not None:
        context.log(f"{who}: what the benchmark {name} says is in the store already")
        return found
    command = find_command(name, config)
    context.log(f"{who}: running the benchmark {name}")
    made: BenchmarkScores = context.make_alone(
        KIND, key, lambda: _make(context, key, name, config, command, policy)
    )[0]
    for metric, said in made.unread.items():
        context.log(f"warning: {name} says {said} of {metric}, which is no finite number")
    return made


def find_command(name: str, config: BenchmarkConfig) -> list[str]:
    """The command with its program's path; raises ValueError, one sentence, without one."""
    program = Path(config.command[0]).expanduser()
    inside = program if len(program.parts) == 1 else _get_folder(config) / program
    path = shutil.which(str(inside))
    if path is None:
        raise ValueError(
            f"evaluate.benchmarks.{name}: there is no program {config.command[0]}; name the one of "
            'the environment that the benchmark is installed in, such as "/opt/lmms/bin/python"'
        )
    return [path, *config.command[1:]]


def _get_folder(config: BenchmarkConfig) -> Path:
    return config.folder.expanduser() if config.folder else Path.cwd()


def _make(
    context: StageContext,
    key: str,
    name: str,
    config: BenchmarkConfig,
    command: list[str],
    policy: PolicyRef,
) -> BenchmarkScores:
    started = time.monotonic()
    workspace = context.open_workspace(KIND, key)
    output = workspace.folder / OUTPUT
    output.mkdir(exist_ok=True)
    workspace.scratch.mkdir(exist_ok=True)
    job = BenchmarkJob(
        policy=policy,
        dtype=context.config.policy.dtype,
        command=command,
        settings=config.settings,
        env=config.env,
        folder=_get_folder(config),
        output=output,
        scratch=workspace.scratch,
        timeout_s=config.timeout_s,
    )
    marker = workspace.scratch / "started"
    marker.touch()
    _call(context, workspace, name, job)
    try:
        since_ns = marker.stat().st_mtime_ns
        read = read_results(output, config.format, config.results, since_ns)
    except ValueError as error:
        # Both harnesses end with exit status 0 where they failed: their log says why.
        said = _say_last(workspace.folder / LOG)
        raise ValueError(f"evaluate.benchmarks.{name}: {output} {error}; {said}") from error
    return _describe(workspace, key, policy, read, time.monotonic() - started)


def _call(context: StageContext, workspace: Workspace, name: str, job: BenchmarkJob) -> None:
    """Run the command to its end; raises ValueError, one sentence, unless that is a good one."""
    log_path = workspace.folder / LOG
    with workspace.publishing(LOG):
        result = run_child(
            CHILD,
            job,
            on_event=lambda event: None,
            log=context.log,
            progress_timeout_s=job.timeout_s + GRACE_S,
            log_path=log_path,
        )
    returncode = result["returncode"]
    if returncode == 0:
        return
    how = f"ended with exit status {returncode}"
    if returncode is None:
        how = f"was ended after {job.timeout_s:g} s (timeout_s)"
    raise ValueError(f"evaluate.benchmarks.{name}: its command {how}; {_say_last(log_path)}")


def _say_last(path: Path) -> str:
    """The last line of a log, and where the others are."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    said = [line.rpartition("\r")[2].strip() for line in lines]
    last = next((line for line in reversed(said) if line), "")[-SHOWN_CHARACTERS:]
    return f"its last line is {last!r}, look into {path}"


def _describe(
    workspace: Workspace, key: str, policy: PolicyRef, read: Read, seconds: float
) -> BenchmarkScores:
    body = {
        "scores": {name: score.model_dump() for name, score in sorted(read.scores.items())},
        "unread": dict(sorted(read.unread.items())),
    }
    path = workspace.folder / SCORES
    write_atomic(path, json.dumps(body, indent=2).encode())
    own = describe_file(path, SCORES)
    inside = [p.resolve().relative_to(workspace.folder.resolve()).as_posix() for p in read.files]
    num_metrics = len(read.scores) + len(read.unread)
    dropped = {"no finite number": len(read.unread)} if read.unread else {}
    return BenchmarkScores(
        stage="evaluate",
        key=key,
        digest=compute_digest([own]),
        files=[own, *(describe_file(workspace.folder / name, name) for name in sorted(inside))],
        counts=Counts(num_in=num_metrics, num_kept=len(read.scores), dropped=dropped),
        parents=[],
        producer=describe_producer(seed=0),
        created_at=utc_now(),
        seconds=seconds,
        attempt=workspace.attempt,
        policy_digest=policy.digest,
        scores=read.scores,
        unread=read.unread,
    )
