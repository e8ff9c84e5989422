"""While one notebook times something, the others of the same runner stand still."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from fpa.study import quiet

_STILL = "import time; time.sleep(60)"


@contextmanager
def kernel(mark="ipykernel_launcher"):
    """A process that looks like a kernel, begun by this one."""
    process = subprocess.Popen([sys.executable, "-c", _STILL, mark])
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def _becomes(process, suspended):
    """Whether it is or is not suspended, once the signal has arrived."""
    deadline = time.monotonic() + 10
    while (process.status() == psutil.STATUS_STOPPED) != suspended and time.monotonic() < deadline:
        time.sleep(0.01)
    return (process.status() == psutil.STATUS_STOPPED) == suspended


@pytest.fixture
def runner(monkeypatch, tmp_path):
    monkeypatch.setenv(quiet.RUNNER, str(os.getpid()))
    monkeypatch.setattr(quiet, "find_root", lambda: tmp_path)
    return tmp_path


def test_other_kernels_stand_still_and_then_go_on(runner):
    with kernel() as other, kernel("something else") as stranger:
        with pytest.raises(ZeroDivisionError), quiet.quiet():
            assert _becomes(other, suspended=True) and _becomes(stranger, suspended=False)
            raise ZeroDivisionError
        assert _becomes(other, suspended=False)


def test_without_a_runner_nothing_is_suspended(runner, monkeypatch):
    monkeypatch.delenv(quiet.RUNNER)
    with kernel() as other, quiet.quiet():
        assert _becomes(other, suspended=False)
    quiet.wait()
    assert not any(runner.iterdir())


def test_one_that_begins_waits_until_nothing_is_timed(runner):
    """The one that waits is another process: it says so, and has not gone on while this one times something."""
    code = """
import sys
from pathlib import Path
from fpa.study import quiet
quiet.find_root = lambda: Path(sys.argv[1])
print("here", flush=True)
quiet.wait()
print("on", flush=True)
"""
    with quiet.quiet():
        begun = subprocess.Popen([sys.executable, "-c", code, str(runner)], stdout=subprocess.PIPE, text=True)
        assert begun.stdout is not None and begun.stdout.readline() == "here\n"
        with pytest.raises(subprocess.TimeoutExpired):
            begun.wait(timeout=0.5)
    assert begun.communicate(timeout=60)[0] == "on\n"


def test_kernels_go_on_where_one_that_timed_something_was_killed(runner):
    with kernel() as other:
        other.suspend()
        with quiet.quiet():
            quiet.resume(runner)
            assert _becomes(other, suspended=True)
        other.suspend()
        quiet.resume(runner)
        assert _becomes(other, suspended=False)
