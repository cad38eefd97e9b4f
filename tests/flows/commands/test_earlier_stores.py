"""Stores of earlier versions (tests/data/README.md) are read, gone on with, and cleaned up."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.commands.cli import app
from flows.recipes.refresh import find_recorded_policy
from flows.runs.records import load_record, load_records
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint
from schemas.run import RECORD_VERSION
from tests.damage import STORE_V1, copy_store
from tests.flows.toy import install, write_policy

FIRST, SECOND, WAITING, FAILED = (
    f"toy-20261128-{time}" for time in ("190645", "190658", "190720", "190733")
)
CHECKPOINT = "1b619912f36c0ac0677eab3374f332554d0ba3312af817493cc8ea9e921162b3"  # of FIRST


@pytest.fixture(autouse=True)
def toy_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setitem)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return copy_store(tmp_path / "store")


def invoke(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_it_names_no_folder_but_its_own() -> None:
    for path in (*STORE_V1.glob("runs/*.json"), *STORE_V1.glob("promoted/*")):
        text = path.read_text()
        assert not any(word in text for word in ("/tmp", "/home", "/root", "/work"))


READERS = {
    "runs": [FIRST, SECOND, WAITING, FAILED, "waiting for approval", "+0.1000"],
    f"show {FIRST}": ["completed", "grounding", '"model": "/data/policy"'],
    f"show {FAILED}": ["toy evaluate was told to fail"],
    "show": [FAILED, "failed"],
    f"report {SECOND}": ["report.html"],
    "promotions": ["dfab84859c2e", "ae657261abbc", "undone", "rolled back", FIRST],
    "trends": ["trends.html"],
    "gc": ["nothing to remove"],
    "gc --keep 1": ["nothing was removed"],
    "rollback --previous": ["the policy the rounds began with is now"],
    "rollback ae657261abbc": ["is now ae657261abbc"],
    f"reject {WAITING}": ["is not promoted"],
}  # fmt: skip


@pytest.mark.parametrize("command", READERS)
def test_every_command_reads_it(command: str, store: Path) -> None:
    result = invoke(*command.split(), "--store", store)
    assert result.stderr == ""
    for word in READERS[command]:
        assert word in result.stdout


def test_an_approval_that_waited_over_the_upgrade_is_given(store: Path) -> None:
    invoke("rollback", "ae657261abbc", "--store", store)
    invoke("approve", WAITING, "--store", store)
    assert "promoted by a person" in invoke("promotions", "--store", store).stdout


@pytest.mark.parametrize("run", [SECOND, WAITING])
def test_what_it_trained_can_be_exported(run: str, store: Path, tmp_path: Path) -> None:
    invoke("export", run, tmp_path / "out", "--store", store)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_its_checkpoints_say_which_split_chose_them(store: Path) -> None:
    """They have no word for it: it was validation, under whose name the readings stand."""
    checkpoint = Store(store).load("checkpoint", CHECKPOINT)
    assert isinstance(checkpoint, Checkpoint)
    assert checkpoint.chosen_on == "validation" and checkpoint.readings


def test_a_plan_starts_from_its_promoted_policy(store: Path, tmp_path: Path) -> None:
    settings = [f"store={store}", "name=toy", "policy.model=promoted",
                f"policy.base={write_policy(tmp_path / 'policy')}"]  # fmt: skip
    result = invoke("plan", *(word for each in settings for word in ("--set", each)))
    assert "policy dfab84859c2e" in result.stdout
    assert "stages would be reused" in result.stdout


@pytest.mark.usefixtures("prefect_server")
def test_a_run_of_it_is_run_again_from_a_checkpoint_in_it(store: Path) -> None:
    """Its record names the policy by an absolute path of the machine that wrote it."""
    invoke("rerun", SECOND, "--from", "train", "--store", store)
    again = load_records(Store(store))[-1]
    assert again.status == "completed" and again.schema_version == RECORD_VERSION
    assert again.policy_folder == Path("checkpoint", CHECKPOINT, "model")
    assert again.policy_digest == load_record(Store(store), SECOND).policy_digest
    assert str(store) not in (store / "runs" / f"{again.run_id}.json").read_text().replace(
        f'"store": "{store}"', ""
    )


def age(store: Path) -> None:
    for path in store.rglob("*"):
        os.utime(path, (1e9, 1e9), follow_symlinks=False)


def leave_alone(store: Path) -> None:
    """Only the second run, which started from the first one's checkpoint, and no pointer."""
    for run in (FIRST, WAITING, FAILED):
        (store / "runs" / f"{run}.json").unlink()
    shutil.rmtree(store / "promoted")
    age(store)


def link(store: Path) -> Path:
    (store.parent / "link").symlink_to(store)
    return store.parent / "link"


def move(store: Path) -> Path:
    """Into a folder that is named as keys are."""
    place = store.parent / "volumes" / ("a" * 64) / "_data"
    place.parent.mkdir(parents=True)
    return Path(store.rename(place))


def stay(store: Path) -> Path:
    return store


def become_relative(store: Path) -> Path:
    """What today's version writes."""
    path = store / "runs" / f"{SECOND}.json"
    path.write_text(path.read_text().replace("/data/store/checkpoint", "checkpoint"))
    return move(store)


@pytest.mark.parametrize("go", [stay, link, move, become_relative])
def test_a_store_is_the_same_wherever_it_lies(go: object, store: Path) -> None:
    leave_alone(store)
    place = go(store)  # type: ignore[operator]
    invoke("gc", "--delete", "--store", place)
    opened = Store(place)
    assert opened.list_keys("checkpoint") == sorted(
        [CHECKPOINT, load_record(opened, SECOND).stages["train"].key]
    )
    policy = find_recorded_policy(opened, load_record(opened, SECOND))
    assert policy.folder == place / "checkpoint" / CHECKPOINT / "model"


def test_a_path_is_relative_where_it_lies_in_the_store(store: Path, tmp_path: Path) -> None:
    linked = Store(link(store))
    inside = Path("checkpoint", CHECKPOINT, "model")
    assert linked.relate(store / inside) == inside, "through the link and past it"
    assert Store(store).relate(linked.root / inside) == inside
    other = copy_store(tmp_path / "other") / inside
    shutil.rmtree(store / inside)
    assert Store(store).relate(other) == other == Store(store).resolve(other)
