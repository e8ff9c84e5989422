"""Papermill in a process of its own, forked from a server that has imported it once for all notebooks."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PRELOAD = [__name__, "fpa.study.warm"]
PROVISIONER = "fpa-forked"
# For formats of JSON that no notebook has, this package compiles a grammar whenever it is imported, for a second.
sys.modules["rfc3987_syntax"] = None  # pyright: ignore[reportArgumentType]


def run(
    notebook: Path,
    copy: Path,
    parameters: Mapping[str, Any],
    environment: Mapping[str, str],
    told: Path,
    sockets: Path,
) -> None:
    """Execute `notebook` in its folder, write `copy`, and tell in the file `told` what went wrong.

    The process heads a session of its own, so an interruption from the terminal reaches the runner alone. It talks to
    the kernel through files in the folder `sockets`: of network ports, two kernels that start at once may get the same.
    """
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    with told.open("w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    from papermill import execute_notebook
    from traitlets.config import Config

    from fpa.study import kernels

    config = Config({"KernelManager": {"transport": "ipc", "ip": str(sockets / "kernel")}})
    options = {"kernel_name": "python3", "cwd": notebook.parent, "progress_bar": False, "config": config}
    with kernels.waiting():
        execute_notebook(notebook, copy, parameters, **options)
