"""Kernels that are forked: they start with everything imported, in their notebook's place, and leave nothing behind."""

import signal

import psutil
from studies import WRITE, add

from fpa.study import execute, kernels, runner, state

TELL = (
    WRITE
    + """
import json, sys
found = {
    "imported": [name for name in ("cvxpy", "fpa", "jax", "matplotlib.pyplot") if name in sys.modules],
    "folder": os.path.basename(os.getcwd()),
    "told": os.environ["FPA_TOLD"],
    "threads": os.environ["OPENBLAS_NUM_THREADS"],
    "errors": "quit" if "Ctrl-C" in open(os.environ["FPA_OUTPUT"] + "/../told").read() else "none",
}
(folder / f"{run}.csv").write_text(json.dumps(found))
"""
)


def in_vain():
    """A process that was to be a kernel and never became one."""
    with kernels.waiting():
        waited = kernels.Forked.waiting
        assert waited.poll() is None and psutil.pid_exists(waited.pid)
    assert waited.poll() == -signal.SIGKILL and not psutil.pid_exists(waited.pid)
    waited.send_signal(signal.SIGTERM)


def in_error():
    """The same where what is done meanwhile fails."""
    try:
        with kernels.waiting():
            raise KeyError("on purpose")
    except KeyError:
        assert kernels.Forked.waiting.poll() == -signal.SIGKILL


def test_a_process_that_waited_in_vain_is_gone_afterwards():
    assert execute._exit_code(in_vain) == 0
    assert execute._exit_code(in_error) == 0


def test_a_kernel_has_the_imports_ready_and_stands_where_its_notebook_does(clone, monkeypatch):
    monkeypatch.setenv("FPA_TOLD", "by the test")
    add(clone, "first", TELL)
    study = state.load(clone, "smoke")
    assert runner.run(study) == []
    found = (study.folder / "tables" / "first.csv").read_text()
    assert '"imported": ["cvxpy", "fpa", "jax", "matplotlib.pyplot"]' in found
    assert '"folder": "notebooks", "told": "by the test", "threads": "1", "errors": "none"' in found


def test_a_kernel_that_kills_itself_fails_its_run(clone, capsys):
    add(clone, "first", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert runner.run(state.load(clone, "smoke")) == ["first"]
    assert "first: failed: the kernel failed" in capsys.readouterr().out
