"""The child process of own.py: import one's own reward and call it.

It is called as TRL's trainers call a reward function: prompts and completions in chat form, and the
columns of the samples, all by name and as lists; what its signature does not take is left out.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from perpo_core.policy.prompts import clean_messages
from perpo_core.process.child import emit, load_job
from perpo_core.store.packs import Images
from perpo_core.vision.stored import open_stored
from schemas.arrow import SAMPLES
from schemas.run import OwnRewardJob

COLUMNS = [name for name in SAMPLES.names if name not in ("prompt", "images")]
OFFERED = ["prompts", "completions", "images", *COLUMNS]
MAX_CHARACTERS = 300  # of what an exception says
NONE = "returned None: it does not judge such an answer"


def main() -> None:
    job = load_job(OwnRewardJob)
    try:
        function = load(job)
    except (Exception, SystemExit) as error:
        emit("broken", why=explain(error))
        emit("result")
        return
    caller = Caller(job, function)
    emit("ready")
    for numbers in job.calls:
        make_call(caller, numbers)
    emit("result")


def make_call(caller: Caller, numbers: list[int]) -> None:
    """Report what it gave; of several answers one at a time where it did not work."""
    try:
        results = caller.call(numbers)
    except (Exception, SystemExit) as error:
        if len(numbers) > 1:
            emit("split")
            for number in numbers:
                make_call(caller, [number])
            return
        results = [(None, explain(error), "reward")]
    emit("made", numbers=numbers, results=results)


def load(job: OwnRewardJob) -> Callable[..., Any]:
    """The function; raises what its module raises, and ValueError for one that cannot be called."""
    if job.folder is not None:
        sys.path.insert(0, str(job.folder))
    # A single file is taken from where it was found, whatever else has its name.
    if "." in job.module or job.file.name == "__init__.py":
        module = importlib.import_module(job.module)
    else:
        module = _load_file(job.module, job.file)
    function = getattr(module, job.function, None)
    if not callable(function):
        raise ValueError(f"{job.file} has no function {job.function}")
    for parameter in inspect.signature(function).parameters.values():
        is_wanted = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL,
        )  # fmt: skip
        if is_wanted and parameter.name not in OFFERED:
            raise ValueError(
                f"{job.function} wants {parameter.name}, which is not there; it is given "
                f"{', '.join(OFFERED)}"
            )
    return function


def _load_file(name: str, file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Caller:
    """Calls the function with what it takes of what there is."""

    def __init__(self, job: OwnRewardJob, function: Callable[..., Any]) -> None:
        self._job, self._function = job, function
        self._prompts = [clean_messages(sample["prompt"]) for sample in job.samples]
        parameters = inspect.signature(function).parameters
        kinds = {parameter.kind for parameter in parameters.values()}
        self._takes_all = inspect.Parameter.VAR_KEYWORD in kinds
        self._names = set(parameters)

    @cached_property
    def _images(self) -> Images:
        return Images(self._job.packs)

    def call(self, numbers: Sequence[int]) -> list[tuple[float | None, str | None, str | None]]:
        """(reward, error, fault) of each answer; raises what the function raises, and ValueError
        for what is no list of as many numbers."""
        returned = self._function(**dict(self._list_arguments(numbers)))
        if inspect.isawaitable(returned):
            returned = asyncio.run(_wait(returned))
        values = _as_list(returned)
        if len(values) != len(numbers):
            raise ValueError(
                f"returned {len(values)} values for {len(numbers)} answers; return one for each"
            )
        return [_read(value) for value in values]

    def _list_arguments(self, numbers: Sequence[int]) -> Iterator[tuple[str, list[Any]]]:
        answers = [self._job.answers[number] for number in numbers]
        samples = [self._job.samples[sample] for sample, _ in answers]
        if self._takes("prompts"):
            yield "prompts", [self._prompts[sample] for sample, _ in answers]
        if self._takes("completions"):
            yield "completions", [[{"role": "assistant", "content": text}] for _, text in answers]
        if "images" in self._names:  # decoding them takes longer than most rewards
            yield "images", [self._open(sample) for sample in samples]
        for name in filter(self._takes, COLUMNS):
            yield name, [sample[name] for sample in samples]

    def _takes(self, name: str) -> bool:
        return self._takes_all or name in self._names

    def _open(self, sample: dict[str, Any]) -> list[Any]:
        return [open_stored(self._images.read(name)) for name in sample["images"]]


async def _wait(returned: Any) -> Any:
    return await returned


def _as_list(returned: Any) -> list[Any]:
    if hasattr(returned, "tolist"):  # an array or a tensor
        returned = returned.tolist()
    if not isinstance(returned, list | tuple):
        raise ValueError(f"returned a {type(returned).__name__}; return a list of numbers")
    return list(returned)


def _read(value: Any) -> tuple[float | None, str | None, str | None]:
    if value is None:
        return None, NONE, "answer"
    if hasattr(value, "item"):  # of an array or a tensor
        value = value.item()
    if not isinstance(value, int | float):
        shown = f"{value!r:.40}"
        return None, f"returned {shown}, which is no number; return a number or None", "reward"
    if not math.isfinite(value):
        return None, f"returned {value}; return a finite number or None", "reward"
    return float(value), None, None


def explain(error: BaseException) -> str:
    """The exception in one line."""
    said = " ".join(str(error).split())[:MAX_CHARACTERS]
    if isinstance(error, ValueError) and said.startswith(("returned ", "wants ")):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


if __name__ == "__main__":
    main()
