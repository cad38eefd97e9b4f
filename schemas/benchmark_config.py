"""What `[evaluate.benchmarks.NAME]` says: somebody else's harness, run on whole model folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from schemas.base import Section

BenchmarkName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Direction = Literal["higher", "lower"]
"""Which way a metric is better."""
MODEL, OUTPUT, SETTINGS = "{model}", "{output}", "{settings}"


class BenchmarkConfig(Section):
    """A command that asks a model folder whatever it asks, and writes down how well it answered."""

    command: list[str] = Field(min_length=1)
    """Program and arguments, started without a shell; {model} is the folder with whole weights,
    {output} an empty folder for results, {settings} the file of `settings`."""
    format: Literal["lmms-eval", "vlmevalkit", "json"]
    """Who wrote the results; json: any file of nested numbers."""
    results: str | None = Field(default=None, min_length=1)
    """Pattern of the result files below {output}; left out: the format's own (json: *.json)."""
    settings: dict[str, JsonValue] = {}
    """Written as JSON with the same words replaced, as VLMEvalKit's --config wants a local model;
    {} writes none."""
    metrics: dict[str, Direction] = {}
    """Metric -> which way it is better, of those to report; {} reports all. Gates need theirs
    here."""
    env: dict[str, str] = {}
    """Added to the environment, such as HF_HUB_OFFLINE = "0" where it may fetch its data. No
    secrets: it is recorded with the run; what the environment has already is handed on."""
    folder: Path | None = None
    """Working directory of the command; left out: the configuration file's."""
    timeout_s: float = Field(default=86_400, gt=0, le=2_592_000)
    """The command is ended after this long."""

    @model_validator(mode="after")
    def _check_words(self) -> BenchmarkConfig:
        said = " ".join(self.command)
        everything = said + (json.dumps(self.settings) if SETTINGS in said else "")
        for word, what in ((MODEL, "the model's folder"), (OUTPUT, "the folder of its results")):
            if word not in everything:
                raise ValueError(f"command does not name {what}; write {word} where it wants that")
        if (SETTINGS in said) != bool(self.settings):
            raise ValueError(f"settings and {SETTINGS} in command belong together; give both")
        return self
