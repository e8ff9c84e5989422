"""Timing with nothing beside: while one notebook times something, the others that a runner executes stand still.

The runner has its notebooks do so by `FPA_QUIET`, where times count. Elsewhere, in Jupyter say, nothing is done. A
notebook that takes part holds a lock on a file named by its process, for as long as it lives.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from fpa.study.files import find_root

QUIET = "FPA_QUIET"
_HELD: list[IO[str]] = []


@contextmanager
def quiet() -> Iterator[None]:
    """In this block all other notebooks of runners are suspended; only one at a time is in such a block."""
    if QUIET not in os.environ:
        yield
        return
    with _lock(root := find_root()):
        try:
            _each(_others(root), psutil.Process.suspend)
            yield
        finally:
            _each(_others(root), psutil.Process.resume)


def take_part() -> None:
    """Have this notebook stand still while another is in such a block, and wait for the end of one that is."""
    if QUIET in os.environ and not _HELD:
        with _lock(root := find_root()):
            _HELD.append(_hold(_folder(root) / str(os.getpid())))


def resume(root: Path) -> None:
    """Have notebooks go on that were suspended by one that was killed."""
    with suppress(BlockingIOError), _lock(root, fcntl.LOCK_NB):
        _each(_others(root), psutil.Process.resume)


@contextmanager
def _lock(root: Path, how: int = 0) -> Iterator[None]:
    """Held by one process at a time; the operating system releases it when the process ends."""
    _folder(root).mkdir(parents=True, exist_ok=True)
    with _hold(_folder(root) / "timing", how):
        yield


def _hold(path: Path, how: int = 0) -> IO[str]:
    """An open file on which this process has the lock until it is closed."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | how)
    except BlockingIOError:
        file.close()
        raise
    return file


def _others(root: Path) -> list[psutil.Process]:
    """The other notebooks that take part. Files of those that have ended are removed."""
    found = []
    for path in _folder(root).iterdir():
        if path.name.isdecimal() and path.name != str(os.getpid()):
            try:
                _hold(path, fcntl.LOCK_NB).close()
                path.unlink()
            except BlockingIOError:
                with suppress(psutil.NoSuchProcess):
                    found.append(psutil.Process(int(path.name)))
    return found


def _folder(root: Path) -> Path:
    return root / ".store" / "quiet"


def _each(processes: list[psutil.Process], do) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            do(process)
