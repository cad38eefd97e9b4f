"""A store in a bucket: machines find, verify, resume and race as processes do in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpo_core.store.bucket.objects import RemoteError
from perpo_core.store.bucket.store import RemoteStore
from perpo_core.store.keys import compute_digest
from perpo_core.store.open import open_store
from perpo_core.store.provenance import describe_producer, utc_now
from perpo_core.store.store import DamagedArtifact, Store
from schemas.artifact import Counts, PreferenceSet
from tests.s3 import Machines

KEY = "a" * 64
KIND = "preferences"
MADE_OF = ["a", 1]


def make(store: Store, numbers: list[int], force: bool = False) -> PreferenceSet:
    """An artifact of one file, not committed."""
    workspace = store.open_workspace(KIND, KEY, force)
    files = [workspace.write_table("preferences.parquet", pa.table({"number": numbers}))]
    return PreferenceSet(
        stage="materialize", key=KEY, digest=compute_digest(files), files=files,
        counts=Counts(num_in=3, num_kept=3), parents=[], producer=describe_producer(0, 1),
        created_at=utc_now(), seconds=0, attempt=workspace.attempt, num_lists={"ocr": 3},
        mean_list_size=2,
    )  # fmt: skip


def read_numbers(store: Store, artifact: PreferenceSet) -> list[int]:
    numbers: list[int] = pq.read_table(store.path(artifact, "preferences.parquet"))[0].to_pylist()
    return numbers


def find(store: Store) -> tuple[PreferenceSet | None, list[str]]:
    said: list[str] = []
    found = store.find(KIND, KEY, said.append)
    assert found is None or isinstance(found, PreferenceSet)
    return found, said


def list_contents(machines: Machines) -> list[str]:
    """The objects of the artifact's file."""
    return [name for name in machines.remote.list_objects() if name.endswith(".parquet")]


def test_another_machine_finds_verifies_and_reads_what_one_committed(machines: Machines) -> None:
    here = machines.open("here")
    made = here.commit(make(here, [1, 2, 3]))
    assert find(here) == (made, [])

    there = machines.open("there")
    assert there.root != here.root
    assert find(there) == (made, [])
    assert read_numbers(there, made) == [1, 2, 3]
    assert there.list_committed(KIND) == [made]
    assert there.list_keys(KIND) == [KEY]


def test_a_working_copy_is_a_store_by_itself(machines: Machines) -> None:
    here = machines.open("here")
    made = here.commit(make(here, [1, 2, 3]))
    assert find(Store(here.root)) == (made, [])


def test_the_bucket_alone_decides(machines: Machines) -> None:
    here = machines.open("here")
    here.commit(make(here, [1, 2, 3]))
    for name in machines.remote.list_objects():
        machines.remote.delete(name)
    assert find(machines.open("here")) == (None, [])


def test_a_damaged_working_copy_is_fetched_again(machines: Machines) -> None:
    here = machines.open("here")
    made = here.commit(make(here, [1, 2, 3]))
    here.path(made, "preferences.parquet").write_bytes(b"PAR1")
    assert find(here) == (made, [])
    assert read_numbers(here, made) == [1, 2, 3]


@pytest.mark.parametrize("how", ["other bytes", "gone"])
def test_a_damaged_object_is_said_never_used_and_made_whole(machines: Machines, how: str) -> None:
    here = machines.open("here")
    made = here.commit(make(here, [1, 2, 3]))
    [name] = list_contents(machines)
    size = machines.remote.list_objects()[name].num_bytes
    machines.remote.delete(name)
    if how == "other bytes":
        machines.remote.write(name, b"x" * size)

    there = machines.open("there")
    found, [said] = find(there)
    assert found is None
    assert name in said
    assert ("damaged" if how == "other bytes" else "missing") in said
    with pytest.raises(DamagedArtifact):
        there.verify(made)
    assert not there.path(made, "preferences.parquet").exists()

    again = there.commit(make(there, [1, 2, 3]))
    assert find(machines.open("third")) == (again, [])


def test_a_damaged_commit_is_said_and_replaced(machines: Machines) -> None:
    machines.remote.write(f"{KIND}/{KEY}/artifact.json", b"{")
    here = machines.open("here")
    found, [said] = find(here)
    assert found is None
    assert "artifact.json is damaged" in said
    made = here.commit(make(here, [1, 2, 3]))
    assert find(machines.open("there")) == (made, [])


def test_who_commits_second_takes_the_first_ones_artifact(machines: Machines) -> None:
    here = machines.open("here")
    mine = make(here, [1, 2, 3])
    there = machines.open("there")
    theirs = make(there, [4, 5, 6])  # a GPU need not say the same twice
    said: list[str] = []

    assert there.commit(theirs) == theirs
    assert here.commit(mine, said.append) == theirs
    assert said == [f"another machine finished preferences {KEY[:12]} first; its artifact is used"]
    for store in (here, there, machines.open("third")):
        assert find(store) == (theirs, [])
        assert read_numbers(store, theirs) == [4, 5, 6]


def test_who_commits_second_does_not_take_a_damaged_artifact(machines: Machines) -> None:
    here = machines.open("here")
    mine = make(here, [1, 2, 3])
    there = machines.open("there")
    there.commit(make(there, [4, 5, 6]))
    for name in list_contents(machines):
        machines.remote.write(name, b"x")
    said: list[str] = []
    assert here.commit(mine, said.append) == mine
    assert "ours takes its place" in said[0]
    assert find(machines.open("third")) == (mine, [])


def test_a_forced_remake_moves_the_commit_and_keeps_the_earlier_attempt(
    machines: Machines,
) -> None:
    here = machines.open("here")
    first = here.commit(make(here, [1, 2, 3]))
    second = here.commit(make(here, [4, 5, 6], force=True))
    assert (first.attempt, second.attempt) == (0, 1)

    there = machines.open("there")
    assert find(there) == (second, [])
    folder = Path("/another/machine/cache") / KIND / KEY
    assert there.fetch_folder(folder) == there.folder(KIND, KEY)
    assert read_numbers(there, first) == [1, 2, 3]
    with pytest.raises(DamagedArtifact, match="no such attempt"):
        there.fetch_folder(there.folder(KIND, KEY, 7))


def test_two_forced_remakes_at_once_leave_one(machines: Machines) -> None:
    here = machines.open("here")
    here.commit(make(here, [1, 2, 3]))
    mine = make(here, [4, 5, 6], force=True)
    there = machines.open("there")
    theirs = there.commit(make(there, [7, 8, 9], force=True))
    assert here.commit(mine) == theirs
    assert find(machines.open("third")) == (theirs, [])


def test_another_machine_resumes_from_finished_parts(machines: Machines) -> None:
    here = machines.open("here")
    table = pa.table({"number": [1, 2, 3]})
    written = here.open_workspace("candidates", KEY).write_part("part-0", table, MADE_OF, 2)

    there = machines.open("there").open_workspace("candidates", KEY)
    assert there.find_part("part-0", MADE_OF) == written
    assert written.num_reused == 2
    assert pq.read_table(there.folder / "part-0").equals(table)
    assert there.find_part("part-0", ["b"]) is None
    assert there.find_part("part-1", MADE_OF) is None


def test_a_part_that_a_child_wrote_is_there_once_it_is_published(machines: Machines) -> None:
    workspace = machines.open("here").open_workspace("candidates", KEY)
    table = pa.table({"number": [1]})
    child = Store(machines.open("here").root).open_workspace("candidates", KEY)
    child.write_part("part-0", table, MADE_OF)
    assert machines.open("there").open_workspace("candidates", KEY).find_part("part-0", MADE_OF) \
        is None  # fmt: skip
    workspace.publish_part("part-0")
    assert machines.open("there").open_workspace("candidates", KEY).find_part("part-0", MADE_OF)


def test_a_damaged_part_is_made_again(machines: Machines) -> None:
    here = machines.open("here").open_workspace("candidates", KEY)
    here.write_part("part-0", pa.table({"number": [1]}), MADE_OF)
    [name] = [name for name in machines.remote.list_objects() if name.endswith("/part-0")]
    machines.remote.write(name, b"x")
    there = machines.open("there").open_workspace("candidates", KEY)
    assert there.find_part("part-0", MADE_OF) is None
    assert not (there.folder / "part-0").exists()


def test_a_log_is_there_also_when_what_wrote_it_failed(machines: Machines) -> None:
    workspace = machines.open("here").open_workspace("checkpoint", KEY)
    with pytest.raises(OSError, match="broke"), workspace.publishing("train.log"):
        (workspace.folder / "train.log").write_text("a trace")
        raise OSError("it broke")
    assert machines.open("there").read(f"checkpoint/{KEY}/train.log") == b"a trace"


def test_small_files_are_written_here_and_read_from_there(machines: Machines) -> None:
    machines.open("here").write("runs/a.json", b"1")
    there = machines.open("there")
    assert there.read("runs/a.json") == b"1"
    there.write("runs/a.json", b"2")
    there.write("runs/.hidden.json", b"")
    here = machines.open("here")
    assert here.read_all(here.list_files("runs", ".json")) == {"runs/a.json": b"2"}
    assert here.fetch_file("runs/a.json").read_bytes() == b"2"
    assert here.read("runs/b.json") is None


def test_a_folder_outside_of_artifacts_is_there_once_it_is_published(machines: Machines) -> None:
    here = machines.open("here")
    curves = here.root / "tensorboard" / "digits-0123456789ab"
    (curves / "events").mkdir(parents=True)
    (curves / "events" / "a").write_bytes(b"curve")
    here.publish(curves)
    there = machines.open("there")
    assert there.read("tensorboard/digits-0123456789ab/events/a") == b"curve"


def test_a_change_that_others_make_at_the_same_time_loses_nothing(machines: Machines) -> None:
    here = machines.open("here")
    there = RemoteStore(machines.address)
    others = [b"b\n", b"c\n"]

    def add(body: bytes | None) -> bytes:
        if others:
            there.remote.write("lines", (body or b"") + others.pop(0))
        return (body or b"") + b"a\n"

    here.update("lines", add)
    assert here.read("lines") == b"b\nc\na\n"


def test_objects_hold_nothing_of_the_machine_but_logs(machines: Machines) -> None:
    here = machines.open("here")
    made = here.commit(make(here, [1, 2, 3]))
    for name in machines.remote.list_objects():
        body = machines.remote.read(name)
        assert body is not None
        assert str(here.root).encode() not in body.content
        assert b"a-secret" not in body.content
    assert json.loads(made.model_dump_json())["key"] == KEY


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3:/bucket/prefix", "two slashes"),
        ("gs://bucket/prefix", "give a folder or s3://"),
        ("s3://key:secret@bucket/prefix", "give a folder or s3://"),
        ("s3://", "give a folder or s3://"),
    ],
)
def test_an_address_of_no_use_is_refused(address: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        open_store(address)


@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPO_CACHE", str(tmp_path))
    with pytest.raises(RemoteError, match="there is no bucket not-there; create it"):
        open_store("s3://not-there/prefix").load(KIND, KEY)
