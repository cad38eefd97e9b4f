"""Real processes: what the parent hears, and that nothing survives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from perpo_core.process import supervisor
from perpo_core.process.child import emit
from perpo_core.process.parent import ChildFailed, run_child
from tests.perpo_core.children import CHILDREN, CHILDREN_PATH, Job

GONE_WITHIN_S = 5.0


def run(
    job: Job,
    on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    log: Callable[[str], None] = lambda message: None,
    progress_timeout_s: float = 30,
    env: dict[str, str] | None = None,
    log_path: Path | None = None,
    module: str = CHILDREN,
    stop: threading.Event | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    return run_child(
        module,
        job,
        on_event=on_event,
        log=log,
        progress_timeout_s=progress_timeout_s,
        env={**CHILDREN_PATH, **(env or {})},
        log_path=log_path,
        stop=stop,
        processes=processes,
    )


def find_living(pids: list[int]) -> list[int]:
    """Those still there; a zombie holds no memory and no GPU."""
    living = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                living.append(pid)
        except psutil.NoSuchProcess:
            continue
    return living


def wait_for(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return condition()


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures keep their log, killed parents their job file: not in the machine's /tmp."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def heed_interrupts() -> None:
    """A background job of a shell ignores SIGINT, and so would everything these tests start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


StartParent = Callable[[str, bool], tuple["subprocess.Popen[bytes]", list[int]]]


@pytest.fixture
def start_parent(tmp_path: Path) -> Iterator[StartParent]:
    """start_parent(kind, stubborn): a program with a child and grandchildren, all alive."""
    parents = []

    def start(kind: str, stubborn: bool) -> tuple[subprocess.Popen[bytes], list[int]]:
        pids_path = tmp_path / "pids"
        job = Job(act="family", pids_path=pids_path, stubborn=stubborn).model_dump_json()
        command = [sys.executable, "-m", CHILDREN, kind, job]
        parents.append(
            subprocess.Popen(
                command, env={**os.environ, **CHILDREN_PATH}, preexec_fn=heed_interrupts
            )
        )
        assert wait_for(pids_path.exists, 30)
        pids = json.loads(pids_path.read_text())
        assert len(pids) == 5 and find_living(pids) == pids
        return parents[-1], pids

    yield start
    for parent in parents:
        parent.kill()
        parent.wait()


def test_events_arrive_in_order_and_the_result_is_returned() -> None:
    events: list[dict[str, Any]] = []
    result = run(Job(act="count", num_events=5), on_event=events.append)
    assert [event["done"] for event in events] == [0, 1, 2, 3, 4]
    assert events[0] == {"event": "progress", "done": 0, "total": 5, "unit": "events"}
    assert result == {"total": 5}


def test_a_hundred_thousand_events_take_seconds() -> None:
    done: list[int] = []
    started_s = time.monotonic()
    run(Job(act="count", num_events=100_000), on_event=lambda event: done.append(event["done"]))
    assert done == list(range(100_000))
    assert time.monotonic() - started_s < 20


def test_any_text_passes_unchanged() -> None:
    text = 'Zürich 東京 \U0001f600 \x1b[31m \u2028 " \\ \n{"event": "exit", "returncode": 0}\n'
    messages: list[str] = []
    assert run(Job(act="echo", text=text), log=messages.append, env={"LC_ALL": "C"}) == {
        "text": text
    }
    assert messages == [text]


def test_a_job_may_be_a_plain_dict() -> None:
    result = run_child(
        CHILDREN,
        {"act": "echo", "text": "é"},
        on_event=lambda event: None,
        log=lambda message: None,
        progress_timeout_s=30,
        env=CHILDREN_PATH,
    )
    assert result == {"text": "é"}


def test_processes_side_by_side_meet_without_asking_for_this_machines_name() -> None:
    names = "MASTER_ADDR WORLD_SIZE RANK"
    result = run(Job(act="environment", text=names), processes=2)
    assert result == {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "RANK": "0"}


def test_what_libraries_print_goes_to_the_log(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "child.log"
    assert run(Job(act="chatter"), log_path=path, env={"PRINT_EARLY": "1"}) == {"ok": True}
    text = path.read_text()
    for printed in (
        "stray line before load_job",
        "printed from Python",
        "printed by a grandchild",
        "written natively",
    ):
        assert text.count(printed) == 1


def test_a_crash_is_one_sentence_with_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "child.log"
    path.write_text("of an earlier run\n")
    events: list[dict[str, Any]] = []
    with pytest.raises(ChildFailed) as caught:
        run(Job(act="crash", text="row 7 is bad"), on_event=events.append, log_path=path)
    assert [event["done"] for event in events] == [1]
    assert str(caught.value).startswith(
        f"{CHILDREN} failed with exit status 1 (log: {path}); its last lines:\n"
    )
    assert caught.value.last_lines[-1] == "ValueError: row 7 is bad"
    assert "of an earlier run" not in str(caught.value)
    assert path.read_text().startswith("of an earlier run\n")


def test_a_temporary_log_stays_after_a_failure_only(tmp_path: Path) -> None:
    run(Job(act="chatter"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ChildFailed) as caught:
        run(Job(act="crash", text="why"))
    assert list(tmp_path.iterdir()) == [caught.value.log_path]
    assert "ValueError: why" in caught.value.log_path.read_text()


def test_a_kill_for_memory_says_so() -> None:
    with pytest.raises(ChildFailed, match="was killed by SIGKILL, most likely") as caught:
        run(Job(act="kill"))
    assert caught.value.last_lines == ["last words"]


def test_an_end_without_a_result_is_a_failure() -> None:
    with pytest.raises(ChildFailed, match="ended without a result"):
        run(Job(act="no result"))


def test_a_module_that_does_not_exist_is_named() -> None:
    with pytest.raises(ChildFailed, match=r"No module named .*no_such_module"):
        run(Job(act="echo"), module="no_such_module")


def test_silence_ends_the_whole_family(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="reported no progress for 4 s and was ended"):
        run(Job(act="family", pids_path=tmp_path / "pids"), progress_timeout_s=4)
    assert find_living(json.loads((tmp_path / "pids").read_text())) == []


@pytest.mark.parametrize("act", ["stop", "spin"])
def test_a_child_that_stopped_or_spins_ends_with_its_family(tmp_path: Path, act: str) -> None:
    job = Job(act=act, pids_path=tmp_path / "pids", stubborn=True)
    with pytest.raises(ChildFailed, match="reported no progress for 2 s and was ended"):
        run(job, progress_timeout_s=2)
    assert find_living(json.loads((tmp_path / "pids").read_text())) == []


@pytest.mark.parametrize("exception", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_in_a_callback_ends_the_whole_family(
    tmp_path: Path, exception: type[BaseException]
) -> None:
    def on_event(event: dict[str, Any]) -> None:
        raise exception

    with pytest.raises(exception):
        run(Job(act="family", pids_path=tmp_path / "pids"), on_event=on_event)
    assert find_living(json.loads((tmp_path / "pids").read_text())) == []


def test_a_finished_child_leaves_nobody_behind(tmp_path: Path) -> None:
    assert run(Job(act="leave family", pids_path=tmp_path / "pids")) == {"ok": True}
    assert find_living(json.loads((tmp_path / "pids").read_text())) == []


@pytest.mark.parametrize("kind", ["parent", "threaded parent"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_or_interrupted_parent_leaves_nobody_behind(
    start_parent: StartParent, kind: str, number: signal.Signals
) -> None:
    parent, pids = start_parent(kind, number == signal.SIGKILL)
    parent.send_signal(number)
    assert wait_for(lambda: not find_living(pids), GONE_WITHIN_S), find_living(pids)
    assert parent.wait(GONE_WITHIN_S) != 0


def test_a_process_forked_from_a_killed_parent_does_not_keep_the_child_alive(
    tmp_path: Path, start_parent: StartParent
) -> None:
    parent, pids = start_parent("forking parent", False)
    assert wait_for((tmp_path / "pids.fork").exists, 10)
    parent.kill()
    parent.wait()
    gone = wait_for(lambda: not find_living(pids), GONE_WITHIN_S)
    os.kill(int((tmp_path / "pids.fork").read_text()), signal.SIGKILL)
    assert gone, find_living(pids)


def test_a_killed_supervisor_is_reported_and_its_group_ended(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="was lost: its supervisor ended too early"):
        run(Job(act="kill supervisor", pids_path=tmp_path / "pids"))
    pids = json.loads((tmp_path / "pids").read_text())
    assert wait_for(lambda: not find_living(pids), GONE_WITHIN_S)


def test_it_works_in_a_thread_several_at_a_time() -> None:
    results: dict[int, dict[str, Any]] = {}

    def work(number: int) -> None:
        results[number] = run(Job(act="count", num_events=number))

    threads = [threading.Thread(target=work, args=(number,)) for number in (3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {3: {"total": 3}, 4: {"total": 4}}


def test_an_exception_injected_into_the_thread_ends_the_family(tmp_path: Path) -> None:
    """How Prefect cancels a task that runs in a worker thread."""
    import ctypes

    ended: list[BaseException] = []

    def work() -> None:
        try:
            run(Job(act="family", pids_path=tmp_path / "pids"))
        except BaseException as exception:
            ended.append(exception)

    thread = threading.Thread(target=work)
    thread.start()
    assert wait_for((tmp_path / "pids").exists, 30)
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(TimeoutError)
    )
    thread.join(GONE_WITHIN_S)
    assert [type(exception) for exception in ended] == [TimeoutError]
    assert find_living(json.loads((tmp_path / "pids").read_text())) == []


@pytest.mark.parametrize("act", ["family", "count"])
def test_a_stop_ends_a_silent_and_a_talkative_child(tmp_path: Path, act: str) -> None:
    stop = threading.Event()
    job = Job(act=act, pids_path=tmp_path / "pids", num_events=10**9)
    with pytest.raises(ChildFailed, match="was ended as asked"):
        run(job, on_event=lambda event: stop.set(), stop=stop)
    if act == "family":
        assert find_living(json.loads((tmp_path / "pids").read_text())) == []


def test_the_child_sees_the_defaults_the_users_wishes_and_the_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    names = "HF_HUB_OFFLINE TOKENIZERS_PARALLELISM OMP_NUM_THREADS"
    assert run(Job(act="environment", text=names), env={"OMP_NUM_THREADS": "1"}) == {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "OMP_NUM_THREADS": "1",
    }


def test_emit_outside_a_child_is_refused() -> None:
    with pytest.raises(RuntimeError, match="before load_job"):
        emit("progress", done=0)


def test_ps_and_proc_agree_on_this_family() -> None:
    """Off Linux the supervisor asks ps."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("no /proc here: ps is all there is")
    me = os.getpid()
    from_proc = {row[0]: row[2:] for row in supervisor._read_proc()}
    from_ps = {row[0]: row[2:] for row in supervisor._ask_ps()}
    assert from_ps[me] == from_proc[me] == (os.getppid(), os.getpgid(0))


def test_the_supervisor_starts_fast() -> None:
    code = "import sys, perpo_core.process.supervisor; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True
    ).stdout.split()
    assert not {"pydantic", "numpy", "pyarrow", "asyncio", "typing_extensions"} & set(loaded)
