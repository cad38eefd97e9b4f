"""Wrong uses of the command line: each is one sentence and the right exit code."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from flows.commands.cli import app

MAX_SENTENCE = 700


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"PREFECT_API_URL": None})


def check(result: Result, *words: str, lines: int = 1) -> None:
    """Exit code 2, so many lines on stderr, no trace and no number of the system's."""
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    said = result.stderr.strip()
    assert len(said.splitlines()) == lines, said
    assert len(said) < MAX_SENTENCE
    for never in ("Traceback", "[Errno", "ValidationError", "object at 0x"):
        assert never not in result.output
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("train.beta", "write it as section.key=value"),
        ("=1", "write it as"),
        ("train..beta=1", "write it as"),
        ("train.beta=-1", "train.beta"),
        ("train.beta=many", "train.beta"),
        ("train.beta=nan", "train.beta"),
        ("train.betta=1", "did you mean train.beta?"),
        ("trane.beta=1", "train"),
        ("train=1", "train"),
        ("train.beta.x=1", "train.beta is a value and has no keys"),
        ("name.x=1", '--set "name.x=1": name is a value and has no keys'),
        ("store.x=1", '--set "store.x=1": store is a value and has no keys'),
        ("policy.base.x=1", "policy.base is a value and has no keys"),
        ("name=", "name"),
        ("name=Upper", "name"),
        ("name=../../x", "name"),
        (f"name={'n' * 300}", "name"),
        ("store=", "is empty"),
        ("store=5", "store"),
        ("source.kind=arrow", "source.kind"),
        ("source.train.reading=5", "reading"),
        ("source.train.ocr=-5", "source.train.ocr"),
        ("source.files=[]", "source.files"),
        ("train.objective=best", "train.objective"),
        ("generate.engine=llama", "generate.engine"),
        ("generate.num_candidates=0", "generate.num_candidates"),
        ("policy.dtype=float64", "policy.dtype"),
        ("policy.box_format=corners", "policy.box_format"),
        ("lists.min_gap.grounding=2", "lists.min_gap"),
        ("promote.approval=perhaps", "promote.approval"),
        ("min_free_disk_gb=-1", "min_free_disk_gb"),
    ],
)
def test_a_wrong_override_is_named(override: str, word: str, tmp_path: Path) -> None:
    check(invoke("plan", "--set", f"store={tmp_path}", "--set", override), word)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"name = ", "not valid TOML"),
        (b"[train\nbeta = 1", "not valid TOML"),
        (b"name = 'a'\nname = 'b'", "not valid TOML"),
        (b"name = '\xff'", "save it as UTF-8"),
        (b"nmae = 'x'", "did you mean name?"),
        (b"[train]\nbeta = 'x'", "train.beta"),
        (b"train = 1", "train"),
        (b"[source]\nfiles = ['a.jsonl']", "source.kind is missing"),
        (b"[source]\nkind = 'jsonl'", "source.files is missing"),
        (b"[source]\nkind = 'jsonl'\nfiles = 'a.jsonl'", "source.files"),
        (b"store = ''", "is empty"),
    ],
)
def test_a_wrong_configuration_is_named_with_its_file(
    body: bytes, word: str, tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_bytes(body)
    check(invoke("plan", str(tmp_path / "a.toml")), word, "a.toml")


@pytest.mark.parametrize("path", ["nowhere.toml", ".", "n" * 300])
def test_a_configuration_that_is_no_file_is_said(path: str) -> None:
    check(invoke("plan", path), "there is no such configuration file; check the path")


def test_all_that_is_wrong_with_a_configuration_is_said_a_line_each() -> None:
    check(invoke("plan", "--set", "train.beta=-1", "--set", "name="), lines=2)


READERS = [
    ["runs"], ["show"], ["report"], ["promotions"], ["trends"], ["gc"], ["gc", "--delete"],
    ["export", "latest", "out"], ["rollback", "--previous"], ["rollback", "abc"],
    ["approve", "latest"], ["reject", "a-run"], ["rerun", "latest", "--from", "score"],
]  # fmt: skip


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_store_that_is_not_there_is_refused_and_not_made(
    command: list[str], tmp_path: Path
) -> None:
    check(invoke(*command, "--store", str(tmp_path / "typo" / "store")), "there is no run in")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_store_that_is_a_file_is_refused(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check(invoke(*command, "--store", str(tmp_path / "file")), "it is a file")


def test_nothing_is_planned_for_a_store_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check(invoke("plan", "--set", f"store={tmp_path / 'file'}"), "is a file; name a folder")


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["show", "no-such-run"], "there is no run 'no-such-run'"),
        (["show", "r" * 300], "is not a run id"),
        (["show", "../x"], "is not a run id"),
        (["show", ""], "is not a run id"),
        (["report", "a/b"], "is not a run id"),
        (["export", "no-such-run", "out"], "there is no run 'no-such-run'"),
        (["rerun", "no-such-run", "--from", "score"], "there is no run 'no-such-run'"),
        (["approve", ".."], "is not a run id"),
        (["rollback"], "name a DIGEST"),
        (["rollback", "abc", "--previous"], "not both of them"),
        (["rollback", "zzz"], "`perpo promotions` lists"),
        (["rollback", "--previous"], "nothing is promoted in"),
    ],
)
def test_a_wrong_run_or_digest_is_said(command: list[str], word: str, tmp_path: Path) -> None:
    check(invoke(*command, "--store", str(tmp_path)), word)


@pytest.mark.parametrize(
    ("store", "word"),
    [
        ("s3:/bucket/x", "an address has two slashes"),
        ("s3://", "store = s3:"),
        ("s3://B", "is not supported"),
        ("gs://bucket/x", "is not supported"),
        ("https://host/x", "is not supported"),
        ("", "store is empty"),
    ],
)
@pytest.mark.parametrize("command", ["runs", "gc", "trends"])
def test_a_wrong_address_is_said(command: str, store: str, word: str) -> None:
    check(invoke(command, "--store", store), word)


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/x", "/dev/null/x"])
@pytest.mark.parametrize("command", ["refresh", "serve"])
def test_a_store_that_cannot_be_written_is_said_before_anything_is_made(
    command: str, where: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    store = str(tmp_path / where)
    options = ["--store", store] if command == "serve" else ["--set", f"store={store}"]
    check(invoke(command, *options), "cannot be written to", "change store")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = invoke("serve", "--port", port, "--store", str(tmp_path))
    check(result, f"port {port} of 127.0.0.1 is not free", "choose another")


@pytest.mark.parametrize("address", ["foo", "ftp://host/api", "http://", "http://127.0.0.1:1/api"])
def test_a_wrong_address_of_the_server_is_said(address: str, tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with temporary_settings({PREFECT_API_URL: address, PREFECT_CLIENT_MAX_RETRIES: 0}):
        check(invoke("refresh", "--set", f"store={tmp_path}"), "correct PREFECT_API_URL", address)


@pytest.mark.parametrize(
    "arguments",
    [
        ["rerun", "latest", "--from", "scoring"], ["rerun", "latest"], ["gc", "--keep", "0"],
        ["serve", "--port", "99999"], ["bootstrap"], ["refresh", "--forse"], ["refesh"],
        ["refresh", "--force-from", "all"], ["export", "latest"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_usage_is_shown_for_what_the_command_line_does_not_know(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr and "Traceback" not in result.output


GOOD = '{"task": "grounding", "image": "a.png", "prompt": "Where?", "box": [1, 1, 9, 9]}'
ROWS = {
    "no JSON": "{", "no object": "[]", "an empty object": "{}", "not UTF-8": "\udcff",
    "an unknown task": GOOD.replace("grounding", "guessing"),
    "an unknown key": GOOD.replace('"box"', '"bax"'),
    "a missing image": GOOD.replace("a.png", "b.png"),
    "an image outside": GOOD.replace("a.png", "../a.png"),
    "an image that is a number": GOOD.replace('"a.png"', "5"),
    "an image with a long name": GOOD.replace("a.png", "a" * 300),
    "an empty prompt": GOOD.replace("Where?", ""),
    "a box of three": GOOD.replace("[1, 1, 9, 9]", "[1, 1, 9]"),
    "a box inside out": GOOD.replace("[1, 1, 9, 9]", "[9, 9, 1, 1]"),
    "a box outside": GOOD.replace("[1, 1, 9, 9]", "[1, 1, 9, 99]"),
    "a box of words": GOOD.replace("[1, 1, 9, 9]", '["a", 1, 2, 3]'),
    "a box without numbers": GOOD.replace("[1, 1, 9, 9]", "[NaN, 1, 9, 9]"),
    "an unknown split": GOOD.replace("}", ', "split": "dev"}'),
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """A data file beside one image."""

    file: Path

    def doctor(self, *overrides: str) -> Result:
        store = self.file.parent / "store"
        settings = [f"store={store}", "source.kind=jsonl", f'source.files=["{self.file}"]']
        return invoke("doctor", *(w for s in [*settings, *overrides] for w in ("--set", s)))


@pytest.fixture
def write_data(tmp_path: Path) -> Callable[[str], Data]:
    def write(text: str) -> Data:
        Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
        (tmp_path / "a.jsonl").write_text(text, encoding="utf-8", errors="surrogateescape")
        return Data(tmp_path / "a.jsonl")

    return write


def list_errors(result: Result) -> list[str]:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output and "[Errno" not in result.output
    return [line for line in result.stdout.splitlines() if line.startswith("error")]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_bad_row_is_one_finding_and_none_is_called_usable(
    row: str, write_data: Callable[[str], Data]
) -> None:
    result = write_data(row + "\n").doctor()
    named = [line for line in list_errors(result) if "a.jsonl row 1: " in line]
    assert len(named) == 1
    assert "usable" not in result.stdout


def test_doctor_says_all_that_is_wrong_at_once(write_data: Callable[[str], Data]) -> None:
    data = write_data(GOOD)
    data.file.unlink()
    errors = list_errors(data.doctor("policy.model=./nowhere", "min_free_disk_gb=1e6"))
    assert [line.split()[1] for line in errors] == ["store:", "policy:", "source:"]


@pytest.mark.parametrize("what", ["missing", "folder", "empty"])
def test_a_data_file_of_no_use_is_one_finding(what: str, write_data: Callable[[str], Data]) -> None:
    data = write_data("")
    if what != "empty":
        data.file.unlink()
    if what == "folder":
        data.file.mkdir()
    [error] = list_errors(data.doctor())
    assert str(data.file) in error


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that every user may enter, as those of tmp_path are not."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="becomes another user"
)
@pytest.mark.parametrize("command", ["runs", "gc --delete", "refresh"])
def test_a_store_of_another_user_is_refused_with_the_owners_name(
    command: str, open_folder: Path
) -> None:
    store = open_folder / "store"
    (store / "runs").mkdir(parents=True)
    (store / "runs" / "a.json").write_text("{}")
    store.chmod(0o700)
    option = ["--set", f"store={store}"] if command == "refresh" else ["--store", str(store)]
    code = "import sys; from flows.commands.cli import app; app(sys.argv[1:])"
    # Only another uid without its rights: the environment's files stay readable by their owner.
    who = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all"]
    done = subprocess.run(
        [*who, sys.executable, "-c", code, *command.split(), *option],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "belongs to root and is closed to nobody" in done.stderr
