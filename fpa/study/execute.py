"""Executing one notebook in a process of its own, so that it can be stopped at once and runs beside others."""

import json
import multiprocessing
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from threading import Lock
from typing import Any

import psutil
from ipykernel.kernelspec import write_kernel_spec

import fpa.study
from fpa.study import headless
from fpa.study.errors import RunFailed
from fpa.study.writing import write_text

_ASKING = Lock()
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(headless.PRELOAD)
_PACKAGES = str(Path(fpa.study.__file__).resolve().parents[2])
_CELL_FILE = re.compile(re.escape(tempfile.gettempdir()) + r"[/\\]ipykernel_\d+[/\\]\d+\.py")


def execute(notebook: Path, copy: Path, parameters: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Execute `notebook` in its folder with the running interpreter and write the tidied `copy`.

    The kernel sees `environment` besides the process's own and imports the `fpa` that is running here. OpenBLAS, which
    factorises, has one thread unless told otherwise: threads of several notebooks that wait for one another make small
    factorisations up to fifty times slower, and alone they gain little. RunFailed tells which cell failed; the untidied
    copy is then left in place.
    """
    jupyter = copy.parent / "jupyter"
    forked = {"metadata": {"kernel_provisioner": {"provisioner_name": headless.PROVISIONER}}}
    write_kernel_spec(str(jupyter / "kernels" / "python3"), forked, extra_arguments=["--log-level=ERROR"])
    seen = {
        "OPENBLAS_NUM_THREADS": "1",
        **os.environ,
        "JUPYTER_PATH": _prepend(str(jupyter), "JUPYTER_PATH"),
        "PYTHONPATH": _prepend(_PACKAGES, "PYTHONPATH"),
        **environment,
    }
    told = copy.parent / "told"
    with tempfile.TemporaryDirectory(prefix="fpa-") as sockets:  # whose names have to be short
        arguments = (notebook, copy, dict(parameters), seen, told, Path(sockets))
        ended = _exit_code(headless.run, *arguments)
    if ended < 0:
        raise RunFailed(f"it was stopped by signal {-ended}")
    if ended:
        raise RunFailed(_sentence(copy, told.read_text() if told.is_file() else ""))
    tidy(copy, notebook.parent.parent)


def _exit_code(target: Callable[..., Any], *arguments: Any) -> int:
    """How a process with this target ended: 0 if well, negative if by a signal.

    To start one, Python asks how the others have ended, and each answer can be read only once: by one thread at a time.
    """
    process = _FORKS.Process(target=target, args=arguments)
    with _ASKING:
        process.start()
    wait([process.sentinel])
    with _ASKING:
        process.join()
        assert process.exitcode is not None
        return process.exitcode


def stop_all() -> None:
    """Kill every process that this one has begun, notebooks' kernels included."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def tidy(copy: Path, root: Path) -> None:
    """Take out of an executed notebook what differs from one execution to the next."""
    notebook = json.loads(copy.read_text(encoding="utf-8"))
    notebook["metadata"].pop("papermill", None)
    notebook["metadata"].get("language_info", {}).pop("version", None)
    for cell in notebook["cells"]:
        for volatile in ("papermill", "execution"):
            cell["metadata"].pop(volatile, None)
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["id"] = "injected-parameters"
        cell.update({"outputs": _tidy_text(cell["outputs"], root)} if "outputs" in cell else {})
    write_text(copy, json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _tidy_text(value: Any, root: Path) -> Any:
    """An output without absolute paths of this clone and numbers of this kernel."""
    if isinstance(value, dict):
        return {key: _tidy_text(entry, root) for key, entry in value.items()}
    if isinstance(value, list):
        return [_tidy_text(entry, root) for entry in value]
    return _CELL_FILE.sub("<cell>", value.replace(str(root), ".")) if isinstance(value, str) else value


def _prepend(folder: str, variable: str) -> str:
    return os.pathsep.join(filter(None, (folder, os.environ.get(variable))))


def _sentence(copy: Path, told: str) -> str:
    """What went wrong in one line: the error of the cell that raised one, or else the last thing papermill said."""
    cells = json.loads(copy.read_text(encoding="utf-8"))["cells"] if copy.is_file() else []
    for cell in cells:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                return (
                    f"cell [{cell['execution_count']}] raised {output['ename']}: {' '.join(output['evalue'].split())}"
                )
    return f"the kernel failed: {(told.strip().splitlines() or ['it said nothing'])[-1]}"
