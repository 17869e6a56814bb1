"""What every executor must do, and what those with processes must survive."""

import contextlib
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from nas.executors import (
    Asked,
    Call,
    Died,
    Event,
    Executor,
    Failed,
    Finished,
    LocalExecutor,
    RayExecutor,
    Retried,
    TaskError,
    ThreadExecutor,
    Told,
)

ROOT = Path(__file__).resolve().parents[2]
TASKS = Path(__file__).parent / "tasks"
PATIENCE_S = 120.0

MAKERS: dict[str, Callable[..., Executor]] = {
    "threads": partial(ThreadExecutor, workers=2),
    "one process": partial(LocalExecutor, workers=1),
    "three processes": partial(LocalExecutor, workers=3),
    "ray": partial(RayExecutor, workers=2, cpus_per_task=0.5),
}
WITH_PROCESSES = [kind for kind in MAKERS if kind != "threads"]
_ENDS = (Finished, Failed, Died)


@pytest.fixture(scope="module")
def tasks() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TASKS)
        import executor_tasks  # type: ignore[import-not-found]

        yield executor_tasks


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    """A small cluster, which executors find and leave as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray = pytest.importorskip("ray", reason="needs Ray: pip install chronas[ray]")
        ray.init(
            address="local", num_cpus=2, object_store_memory=100 * 10**6, include_dashboard=False,
            log_to_driver=False, logging_level="ERROR",
        )  # fmt: skip
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def ray_executor(ray_session: None) -> Iterator[Executor]:
    """One for all tests that leave it as they find it: its workers are slow to start."""
    with contextlib.closing(MAKERS["ray"]()) as executor:
        yield executor


@pytest.fixture
def make(kind: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Executor]]:
    """Makes executors of the kind, with further settings."""
    if kind == "ray":
        request.getfixturevalue("ray_session")
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(contextlib.closing(MAKERS[kind](**settings)))


@pytest.fixture
def executor(kind: str, make: Callable[..., Executor], request: pytest.FixtureRequest) -> Executor:
    if kind == "ray":
        return request.getfixturevalue("ray_executor")
    return make()


def _until(executor: Executor, enough: Callable[[list[Event]], bool]) -> list[Event]:
    """All events until there are enough."""
    events: list[Event] = []
    end_s = time.monotonic() + PATIENCE_S
    while not enough(events):
        assert time.monotonic() < end_s, f"this is all that came: {events}"
        events += executor.wait(1.0)
    return events


def _run(executor: Executor, calls: Mapping[str, Call]) -> list[Event]:
    """Submit tasks, and wait for their ends."""
    for key, call in calls.items():
        executor.submit(key, call)
    return _until(executor, lambda events: sum(isinstance(e, _ENDS) for e in events) == len(calls))


def _told(events: list[Event]) -> list[Any]:
    return [event.message for event in events if isinstance(event, Told)]


def _wait_for_end_of(*pids: int) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while running := [pid for pid in pids if _is_running(pid)]:
        assert time.monotonic() < end_s, f"these still run: {running}"
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.parametrize("kind", MAKERS)
class TestEveryExecutor:
    def test_runs_more_tasks_than_it_has_workers(
        self, executor: Executor, tasks: ModuleType
    ) -> None:
        calls = {f"of {number}": partial(tasks.double, number) for number in range(7)}
        events = _run(executor, calls)
        assert {event.key: event.result for event in events} == {
            f"of {number}": 2 * number for number in range(7)
        }
        assert executor.wait() == []

    def test_runs_as_many_at_once_as_it_has_workers(
        self, executor: Executor, tasks: ModuleType
    ) -> None:
        keys = [f"task {number}" for number in range(2 * executor.workers)]
        for key in keys:
            executor.submit(key, partial(tasks.ask_twice, key))
        events = _until(executor, lambda events: len(events) == executor.workers)
        # The others have no worker; wait gives up when its time is over.
        assert executor.wait(0.2) == []
        results = {}
        while len(results) < len(keys):
            for event in events:
                match event:
                    case Asked(key, question):
                        executor.answer(key, f"yes, {question}")
                    case Finished(key, result):
                        results[key] = result
                    case _:
                        pytest.fail(str(event))
            events = executor.wait(PATIENCE_S)
        assert results == {key: (f"yes, {key}", f"yes, {key} again") for key in keys}

    def test_passes_on_what_is_told_in_order(self, executor: Executor, tasks: ModuleType) -> None:
        lines = [str(number) for number in range(50)]
        events = _run(executor, {"a": partial(tasks.tell_lines, lines)})
        assert events == [*(Told("a", line) for line in lines), Finished("a", "told")]

    def test_hands_over_what_is_raised(self, executor: Executor, tasks: ModuleType) -> None:
        (event,) = _run(executor, {"a": partial(tasks.divide, 1)})
        assert isinstance(event, Failed)
        assert isinstance(event.error, ZeroDivisionError)
        assert str(event.error) == "division by zero"
        # It is no reason not to go on.
        assert _run(executor, {"a": partial(tasks.double, 1)}) == [Finished("a", 2)]

    def test_a_task_that_leaves_has_failed(self, executor: Executor, tasks: ModuleType) -> None:
        (event,) = _run(executor, {"a": tasks.leave})
        assert isinstance(event, Failed)
        assert isinstance(event.error, SystemExit)

    def test_moves_megabytes(self, executor: Executor, tasks: ModuleType) -> None:
        payload = os.urandom(3 * 10**6)
        (event,) = _run(executor, {"a": partial(tasks.big, 10, payload)})
        length, result = event.result
        assert (length, len(result)) == (3 * 10**6, 10**7)

    def test_passes_over_an_answer_that_nobody_waits_for(
        self, executor: Executor, tasks: ModuleType
    ) -> None:
        executor.answer("a", "too early")
        executor.submit("a", partial(tasks.ask_twice, "what"))
        _until(executor, lambda events: bool(events))
        for answer in ("first", "none was asked for"):
            executor.answer("a", answer)
        _until(executor, lambda events: bool(events))
        executor.answer("a", "second")
        events = _until(executor, lambda events: bool(events))
        assert events == [Finished("a", ("first", "second"))]
        executor.answer("a", "too late")

    def test_refuses_the_key_of_an_unfinished_task(
        self, executor: Executor, tasks: ModuleType
    ) -> None:
        executor.submit("a", partial(tasks.double, 1))
        with pytest.raises(ValueError, match=r"^task 'a' is not finished yet"):
            executor.submit("a", partial(tasks.double, 2))
        assert _until(executor, lambda events: bool(events)) == [Finished("a", 2)]

    def test_closes_while_tasks_run(
        self, kind: str, make: Callable[..., Executor], tasks: ModuleType
    ) -> None:
        executor = make(workers=1)
        for key in ("runs", "waits"):
            executor.submit(key, tasks.hang)
        (told,) = _until(executor, lambda events: bool(events))
        executor.close()
        if kind != "threads":
            _wait_for_end_of(told.message)
        assert executor.wait() == []
        executor.answer("runs", "hello")
        with pytest.raises(ValueError, match="was submitted after the executor was closed"):
            executor.submit("late", tasks.hang)
        executor.close()


@pytest.mark.parametrize("kind", WITH_PROCESSES)
class TestExecutorsWithProcesses:
    def test_an_error_says_where_it_was_raised(self, executor: Executor, tasks: ModuleType) -> None:
        (event,) = _run(executor, {"a": partial(tasks.divide, 1)})
        (note,) = event.error.__notes__
        assert note.startswith("In the worker process:\nTraceback")
        assert "executor_tasks.py" in note
        assert "return number / 0" in note

    def test_an_error_that_cannot_be_brought_here_is_put_into_words(
        self, executor: Executor, tasks: ModuleType
    ) -> None:
        (event,) = _run(executor, {"a": tasks.be_picky})
        assert isinstance(event.error, TaskError)
        assert str(event.error) == "executor_tasks.PickyError: one is not 2"
        assert "raise PickyError" in event.error.__notes__[0]

    def test_what_cannot_be_pickled_is_the_failure_of_its_task(
        self, executor: Executor, tasks: ModuleType
    ) -> None:
        for call in (tasks.return_function, tasks.tell_function):
            (event,) = _run(executor, {"a": call})
            assert isinstance(event, Failed)
            assert "return_function.<locals>" in str(event.error) or "pickle" in str(event.error)
        with pytest.raises(ValueError, match=r"^task 'a' cannot be sent to a worker process"):
            executor.submit("a", lambda channel: None)
        assert _run(executor, {"a": partial(tasks.double, 1)}) == [Finished("a", 2)]

    def test_workers_see_the_environment(
        self,
        make: Callable[..., Executor],
        tasks: ModuleType,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        events = _run(make(workers=1), {"a": partial(tasks.variable, "OMP_WAIT_POLICY")})
        assert events == [Finished("a", "PASSIVE")]

    def test_a_task_whose_process_is_killed_runs_again(
        self, executor: Executor, tasks: ModuleType, tmp_path: Path
    ) -> None:
        executor.submit("a", partial(tasks.hang_once, tmp_path / "marker"))
        (told,) = _until(executor, lambda events: bool(events))
        others = {str(number): partial(tasks.double, number) for number in range(3)}
        for key, call in others.items():
            executor.submit(key, call)
        os.kill(told.message, signal.SIGKILL)
        events = _until(executor, lambda events: sum(isinstance(e, _ENDS) for e in events) == 4)
        retried, told_again, finished = (event for event in events if event.key == "a")
        assert isinstance(retried, Retried)
        assert "was killed" in retried.reason
        assert told_again.message != told.message
        assert finished == Finished("a", "second run")
        assert {e.key: e.result for e in events if e.key in others} == {"0": 0, "1": 2, "2": 4}

    def test_a_task_that_always_dies_is_given_up(
        self, executor: Executor, tasks: ModuleType
    ) -> None:
        events = _run(executor, {"a": tasks.kill_itself})
        assert [type(event) for event in events] == [Retried, Died]
        assert "memory runs out" in events[1].reason or "memory ran out" in events[1].reason
        assert _run(executor, {"a": partial(tasks.double, 1)}) == [Finished("a", 2)]

    def test_an_answer_does_not_reach_a_later_run(
        self, executor: Executor, tasks: ModuleType, tmp_path: Path
    ) -> None:
        executor.submit("a", partial(tasks.ask_in_each_run, tmp_path / "marker"))
        (asked,) = _until(executor, lambda events: bool(events))
        run, pid = asked.message
        assert run == 1
        os.kill(pid, signal.SIGKILL)
        events = _until(executor, lambda events: bool(events))
        assert [type(event) for event in events] == [Retried]
        executor.answer("a", "for the dead")
        (asked,) = _until(executor, lambda events: bool(events))
        assert asked.message[0] == 2
        executor.answer("a", "for the living")
        events = _until(executor, lambda events: bool(events))
        assert events == [Finished("a", "for the living")]

    def test_a_task_that_hangs_is_ended(
        self, make: Callable[..., Executor], tasks: ModuleType
    ) -> None:
        executor = make(workers=1, time_limit_s=2, retries=1)
        events = _run(executor, {"a": tasks.hang, "b": partial(tasks.double, 1)})
        pids = _told(events)
        assert [event for event in events if not isinstance(event, Told)] == [
            Retried("a", "it ran longer than executor.time_limit_s=2"),
            Died("a", "it ran longer than executor.time_limit_s=2"),
            Finished("b", 2),
        ]
        assert len(set(pids)) == 2
        _wait_for_end_of(*pids)

    def test_a_time_limit_is_of_limited_tasks_alone(
        self, make: Callable[..., Executor], tasks: ModuleType
    ) -> None:
        executor = make(workers=1, time_limit_s=0.5, retries=0)
        executor.submit("a", partial(tasks.take, 1.5), limited=False)
        executor.submit("b", partial(tasks.take, 1000))
        events = _until(executor, lambda events: len(events) == 2)
        assert events == [
            Finished("a", 1.5), Died("b", "it ran longer than executor.time_limit_s=0.5")
        ]  # fmt: skip


class TestLocalExecutor:
    @pytest.mark.parametrize(
        ("name", "argument", "reason"),
        [
            ("die", signal.SIGKILL, "killed by SIGKILL, which is what Linux does when memory runs"),
            ("die", signal.SIGTERM, "its process was killed by SIGTERM"),
            ("die", signal.SIGSEGV, "its process crashed with SIGSEGV"),
            ("exit_at_once", 3, "its process ended with exit code 3"),
        ],
    )
    def test_says_how_a_process_ended(
        self, name: str, argument: int, reason: str, tasks: ModuleType
    ) -> None:
        with contextlib.closing(LocalExecutor(retries=0)) as executor:
            (event,) = _run(executor, {"a": partial(getattr(tasks, name), argument)})
        assert isinstance(event, Died)
        assert reason in event.reason

    def test_starts_processes_when_they_are_needed(self, tasks: ModuleType) -> None:
        before = set(_descendants(os.getpid()))
        with contextlib.closing(LocalExecutor(workers=3)) as executor:
            assert set(_descendants(os.getpid())) == before
            first = _run(executor, {"a": tasks.pid})
            second = _run(executor, {"a": tasks.pid})
            assert first == second
            assert set(_descendants(os.getpid())) == before | {first[0].result}

    def test_a_worker_that_dies_idle_costs_no_task_its_retry(self, tasks: ModuleType) -> None:
        with contextlib.closing(LocalExecutor(retries=0)) as executor:
            (event,) = _run(executor, {"a": tasks.pid})
            os.kill(event.result, signal.SIGKILL)
            _wait_for_end_of(event.result)
            (again,) = _run(executor, {"a": tasks.pid})
        assert isinstance(again, Finished)
        assert again.result != event.result

    def test_ends_what_tasks_have_started(self, tasks: ModuleType) -> None:
        for end in (signal.SIGKILL, None):
            with contextlib.closing(LocalExecutor(retries=0)) as executor:
                executor.submit("a", tasks.start_another)
                (told,) = _until(executor, lambda events: bool(events))
                if end is not None:
                    os.kill(told.message[0], end)
                    # A process that was forked does not keep the death from being noticed.
                    (event,) = _until(executor, lambda events: bool(events))
                    assert isinstance(event, Died)
            _wait_for_end_of(*told.message)

    def test_workers_that_cannot_start_are_no_reason_to_wait_for_ever(
        self, tasks: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with contextlib.closing(LocalExecutor(retries=1)) as executor:
            events = _run(executor, {"a": tasks.pid, "b": tasks.pid})
        assert [type(event) for event in events] == 2 * [Retried, Died]
        assert events[-1].reason == "its process ended with exit code 1"


DRIVER = """
import sys
sys.path.insert(0, {tasks!r})
import executor_tasks as tasks
from nas.executors import *
executor = {executor}
try:
    for number, task in enumerate({running}):
        executor.submit(str(number), task)
    told = 0
    while told < {told}:
        for event in executor.wait():
            if isinstance(event, Told):
                pids = event.message if isinstance(event.message, tuple) else [event.message]
                print(*pids, flush=True)
                told += 1
    executor.wait()
except KeyboardInterrupt:
    executor.close()
    print("closed", flush=True)
"""


@contextlib.contextmanager
def _driver(executor: str, *running: str, told: int) -> Iterator[subprocess.Popen[str]]:
    """A script that Python reads from its standard input, in a process group of its own."""
    script = DRIVER.format(
        tasks=str(TASKS), executor=executor, running=f"[{', '.join(running)}]", told=told
    )
    with subprocess.Popen(
        [sys.executable, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        process_group=0,
    ) as process:
        try:
            process.stdin.write(script)
            process.stdin.close()
            yield process
        finally:
            process.kill()


def _descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").glob("*")
        for child in (thread / "children").read_text().split()
    ]
    return children + [below for child in children for below in _descendants(child)]


def test_no_worker_outlives_a_driver_that_is_killed() -> None:
    running = ("tasks.compute", "tasks.start_another")
    with _driver("LocalExecutor(workers=2)", *running, told=2) as driver:
        pids = [int(pid) for _ in running for pid in driver.stdout.readline().split()]
        assert len(pids) == 4
        assert all(_is_running(pid) for pid in pids)
        driver.kill()
        _wait_for_end_of(*pids)
        assert driver.stderr.read() == ""


@pytest.mark.parametrize("executor", ["LocalExecutor(workers=1)", "RayExecutor(workers=1)"])
def test_an_interrupt_from_the_terminal_is_for_the_driver_alone(executor: str) -> None:
    if "Ray" in executor:
        pytest.importorskip("ray", reason="needs Ray: pip install chronas[ray]")
    with _driver(executor, "tasks.hang", told=1) as driver:
        pid = int(driver.stdout.readline())
        started = _descendants(driver.pid)
        assert pid in started
        os.killpg(driver.pid, signal.SIGINT)
        assert driver.stdout.read() == "closed\n"
        assert driver.wait() == 0
        assert driver.stderr.read() == ""
        _wait_for_end_of(*started)


def test_what_tasks_print_does_not_come_between_the_lines_of_the_driver() -> None:
    with _driver("LocalExecutor(workers=1)", "tasks.print_and_tell", told=1) as driver:
        assert driver.stdout.read() == "printed\n"
        assert driver.stderr.read() == "printed by a task\n"


def test_a_worker_loads_what_its_task_needs_and_no_more() -> None:
    code = "import sys, nas.executors; print({'torch', 'optuna', 'ray'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == "set()\n"


class TestRayExecutor:
    def test_has_as_many_workers_as_the_cluster_has_room_for(self, ray_session: None) -> None:
        assert RayExecutor().workers == 2
        assert RayExecutor(cpus_per_task=0.1).workers == 20
        assert RayExecutor(cpus_per_task=1.5).workers == 1
        assert RayExecutor(workers=1).workers == 1

    def test_refuses_what_cannot_fit(self, ray_session: None, tasks: ModuleType) -> None:
        with pytest.raises(ValueError, match=r"workers=1 with cpus_per_task=3 .* has room for 0"):
            _ = RayExecutor(cpus_per_task=3).workers
        with pytest.raises(ValueError, match=r"workers=3 with .* has room for 2 such tasks$"):
            RayExecutor(workers=3).submit("a", tasks.pid)

    def test_says_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ValueError, match=r"pip install chronas\[ray\]$"):
            RayExecutor()

    def test_leaves_a_cluster_of_others_as_it_is(
        self, ray_executor: Executor, tasks: ModuleType
    ) -> None:
        import ray

        address = ray.get_runtime_context().gcs_address
        executor = f"RayExecutor(workers=1, cpus_per_task=0.5, address={address!r})"
        for end in (signal.SIGINT, signal.SIGKILL):
            with _driver(executor, "tasks.hang", told=1) as driver:
                pid = int(driver.stdout.readline())
                driver.send_signal(end)
                driver.wait()
                _wait_for_end_of(pid)
                assert driver.stderr.read() == ""
        assert _run(ray_executor, {"a": partial(tasks.double, 1)}) == [Finished("a", 2)]

    def test_says_where_it_finds_no_cluster(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with _driver(
            f"RayExecutor(workers=1, address='127.0.0.1:{port}')", "tasks.hang", told=1
        ) as driver:
            *_, last = driver.stderr.read().splitlines()
        assert re.fullmatch(
            rf"ValueError: no Ray cluster can be reached at executor.address=127.0.0.1:{port} "
            r"\(.*refused\); start one with `ray start --head`, .*",
            last,
        )

    def test_a_cluster_that_it_starts_says_nothing_and_ends_with_the_driver(self) -> None:
        pytest.importorskip("ray", reason="needs Ray: pip install chronas[ray]")
        running = ("tasks.kill_itself", "tasks.hang")
        with _driver("RayExecutor(workers=1, retries=0)", *running, told=1) as driver:
            pid = int(driver.stdout.readline())
            started = _descendants(driver.pid)
            assert pid in started
            # Agents of Ray that look after its own logs and environments take another minute.
            agents = [p for p in started if b"Agent" in Path(f"/proc/{p}/cmdline").read_bytes()]
            driver.kill()
            _wait_for_end_of(*set(started).difference(agents))
            assert (driver.stdout.read(), driver.stderr.read()) == ("", "")


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (ThreadExecutor, {"workers": 0}, "workers must be an integer in 1..1024, but got 0"),
        (LocalExecutor, {"workers": 1025}, "workers must be an integer in 1..1024, but got 1025"),
        (LocalExecutor, {"workers": True}, "workers must be an integer in 1..1024, but got True"),
        (LocalExecutor, {"retries": -1}, "retries must be an integer in 0..100, but got -1"),
        (LocalExecutor, {"time_limit_s": 0}, "time_limit_s must be seconds in 0.001..1e9, or null"),
        (LocalExecutor, {"time_limit_s": "1m"}, "time_limit_s must be seconds .* but got '1m'"),
        (RayExecutor, {"workers": 2.0}, "workers must be an integer in 1..10000, but got 2.0"),
        (
            RayExecutor,
            {"address": "lab"},
            "address must be the host:port of a Ray cluster, or auto",
        ),
        (RayExecutor, {"cpus_per_task": 0}, "cpus_per_task must be a number in 0.01..1024, but"),
        (RayExecutor, {"gpus_per_task": "all"}, "gpus_per_task must be a number in 0..1024, but"),
        (RayExecutor, {"gpus_per_task": 1.5}, "gpus_per_task must be whole where it is above 1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    make: Callable[..., Executor], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^executor.{message}"):
        make(**settings)


@pytest.mark.parametrize(
    ("name", "kind"), [("threads", ThreadExecutor), ("local", LocalExecutor), ("ray", RayExecutor)]
)
def test_every_file_has_all_settings_and_their_defaults(name: str, kind: type) -> None:
    config = OmegaConf.load(ROOT / "conf" / "executor" / f"{name}.yaml")
    assert isinstance(instantiate(config), kind)
    defaults = {n: p.default for n, p in inspect.signature(kind).parameters.items()}
    assert {key: config[key] for key in config if key != "_target_"} == defaults
