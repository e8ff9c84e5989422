"""Timing with nothing beside: while one notebook times something, the others that the runner executes stand still.

The runner names itself to its notebooks in `FPA_RUNNER` where times count. Elsewhere, in Jupyter say, nothing is done.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from fpa.study.files import find_root

RUNNER = "FPA_RUNNER"
_KERNEL = "ipykernel_launcher"


@contextmanager
def quiet() -> Iterator[None]:
    """In this block all other notebooks of the runner are suspended; only one at a time is in such a block."""
    runner = os.environ.get(RUNNER)
    if runner is None:
        yield
        return
    with _lock(find_root()):
        others = [kernel for kernel in _kernels(int(runner)) if kernel.pid != os.getpid()]
        try:
            _each(others, psutil.Process.suspend)
            yield
        finally:
            _each(others, psutil.Process.resume)


def wait() -> None:
    """Wait for the end of the block in which another notebook is, if there is one."""
    if RUNNER in os.environ:
        with _lock(find_root()):
            pass


def resume(root: Path) -> None:
    """Have the notebooks of this process go on that were suspended by one that was killed."""
    with suppress(BlockingIOError), _lock(root, fcntl.LOCK_NB):
        _each(_kernels(os.getpid()), psutil.Process.resume)


@contextmanager
def _lock(root: Path, how: int = 0) -> Iterator[None]:
    """Held by one process at a time; the operating system releases it when the process ends."""
    path = root / ".store" / "quiet.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | how)
        yield


def _kernels(runner: int) -> list[psutil.Process]:
    """The processes that execute notebooks for the runner."""
    found = []
    for process in psutil.Process(runner).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found += [process] if _KERNEL in process.cmdline() else []
    return found


def _each(processes, do) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            do(process)
