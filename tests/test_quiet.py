"""While one notebook times something, the others of a runner stand still."""

import select
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import psutil
import pytest
from studies import WRITE, add

from fpa.study import quiet, runner, state

NOTEBOOK = """
import sys, time
from pathlib import Path
from fpa.study import quiet
quiet.find_root = lambda: Path(sys.argv[1])
print("here", flush=True)
quiet.take_part()
print("on", flush=True)
time.sleep(60)
"""

# Two notebooks of the runner: the first times something once the second takes part, which goes on until that is over.
TAKES_PART = (
    WRITE
    + """
import time, psutil
from fpa import study
from fpa.study import quiet
study.begin(run, profile, globals())
root = pathlib.Path("..").resolve()
def until(true, what):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
"""
)
TIMES = (
    TAKES_PART
    + """
def others():
    with quiet._lock(root):
        return quiet._others(root)
until(others, "the second does not take part")
(other,) = others()
with quiet.quiet():
    until(lambda: other.status() == psutil.STATUS_STOPPED, "the second is not suspended")
until(lambda: other.status() != psutil.STATUS_STOPPED, "the second stays suspended")
(root / "over").touch()
"""
)
GOES_ON = TAKES_PART + '\nuntil((root / "over").exists, "the first is not through")'


@contextmanager
def notebook(root):
    """A process that asks to take part, once it has said so."""
    process = subprocess.Popen([sys.executable, "-c", NOTEBOOK, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "here\n"
        yield psutil.Process(process.pid), process.stdout
    finally:
        process.kill()
        process.communicate()


def _becomes(process, suspended):
    """Whether it is or is not suspended, once the signal has arrived."""
    deadline = time.monotonic() + 10
    while (process.status() == psutil.STATUS_STOPPED) != suspended and time.monotonic() < deadline:
        time.sleep(0.01)
    return (process.status() == psutil.STATUS_STOPPED) == suspended


@pytest.fixture
def root(monkeypatch, tmp_path):
    monkeypatch.setenv(quiet.QUIET, "1")
    monkeypatch.setattr(quiet, "find_root", lambda: tmp_path)
    monkeypatch.setattr(quiet, "_HELD", [])
    return tmp_path


def test_other_notebooks_stand_still_and_then_go_on(root):
    with notebook(root) as (other, says):
        assert says.readline() == "on\n"
        quiet.take_part()
        quiet.take_part()
        with pytest.raises(ZeroDivisionError), quiet.quiet():
            assert _becomes(other, suspended=True)
            raise ZeroDivisionError
        assert _becomes(other, suspended=False)


def test_notebooks_of_the_runner_stand_still(clone):
    for name, source in {"first": TIMES, "second": GOES_ON}.items():
        add(clone, name, source)
    assert runner.run(state.load(clone, "laptop"), jobs=2) == []


def test_elsewhere_nothing_is_suspended(root, monkeypatch):
    with notebook(root) as (other, says):
        assert says.readline() == "on\n"
        monkeypatch.delenv(quiet.QUIET)
        with quiet.quiet():
            assert _becomes(other, suspended=False)
        quiet.take_part()
        assert {path.name for path in (root / ".store" / "quiet").iterdir()} == {"timing", str(other.pid)}


def test_one_that_begins_waits_until_nothing_is_timed(root):
    with ExitStack() as notebooks:
        with quiet.quiet():
            _, says = notebooks.enter_context(notebook(root))
            assert select.select([says], [], [], 0.5)[0] == []
        assert says.readline() == "on\n"


def test_notebooks_go_on_where_one_that_timed_something_was_killed(root):
    with notebook(root) as (other, says):
        assert says.readline() == "on\n"
        other.suspend()
        with quiet.quiet():
            quiet.resume(root)
            assert _becomes(other, suspended=True)
        other.suspend()
        quiet.resume(root)
        assert _becomes(other, suspended=False)


def test_those_that_have_ended_are_forgotten(root):
    with notebook(root) as (_, says):
        assert says.readline() == "on\n"
    quiet.resume(root)
    assert [path.name for path in (root / ".store" / "quiet").iterdir()] == ["timing"]
