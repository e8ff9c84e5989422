"""Executing one notebook, so that it can be stopped at once and its copy is the same when nothing has changed."""

import os
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from ipykernel.kernelspec import write_kernel_spec

import fpa.study
from fpa.study.errors import RunFailed
from fpa.study.files import write_text

_PACKAGES = str(Path(fpa.study.__file__).resolve().parents[2])
_CELL_FILE = re.compile(re.escape(tempfile.gettempdir()) + r"[/\\]ipykernel_\d+[/\\]\d+\.py")


def execute(notebook: Path, copy: Path, parameters: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Execute `notebook` in its folder with the running interpreter and write the tidied `copy`.

    The kernel sees `environment` besides the process's own and imports the `fpa` that is running here. RunFailed
    tells which cell failed; the untidied copy is then left in place.
    """
    jupyter = copy.parent / "jupyter"
    write_kernel_spec(str(jupyter / "kernels" / "python3"), extra_arguments=["--log-level=ERROR"])
    searched = {
        "JUPYTER_PATH": _prepend(str(jupyter), "JUPYTER_PATH"),
        "PYTHONPATH": _prepend(_PACKAGES, "PYTHONPATH"),
    }
    with environ({**searched, **environment}):
        error = _in_thread(_papermill, notebook, copy, dict(parameters))
    if error is not None:
        raise RunFailed(_sentence(error)) from error
    tidy(copy, notebook.parent.parent)


@contextmanager
def environ(values: Mapping[str, str]) -> Iterator[None]:
    """The environment variables `values` within the block."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def tidy(copy: Path, root: Path) -> None:
    """Take out of an executed notebook what differs from one execution to the next."""
    notebook = nbformat.read(copy, as_version=4)
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for volatile in ("papermill", "execution"):
            cell.metadata.pop(volatile, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"
        cell.update({"outputs": [_tidy_text(output, root) for output in cell.outputs]} if "outputs" in cell else {})
    write_text(copy, nbformat.writes(notebook) + "\n")


def _tidy_text(value: Any, root: Path) -> Any:
    """An output without absolute paths of this clone and numbers of this kernel."""
    if isinstance(value, dict):
        return type(value)({key: _tidy_text(entry, root) for key, entry in value.items()})
    if isinstance(value, list):
        return [_tidy_text(entry, root) for entry in value]
    return _CELL_FILE.sub("<cell>", value.replace(str(root), ".")) if isinstance(value, str) else value


def _papermill(notebook: Path, copy: Path, parameters: dict[str, Any]) -> None:
    options = {"kernel_name": "python3", "progress_bar": False, "cwd": notebook.parent}
    papermill.execute_notebook(notebook, copy, parameters, **options)


def _in_thread(function: Any, *arguments: Any) -> Exception | None:
    """Call `function` beside the main thread, which stays free to be interrupted and then kills the kernel."""
    errors: list[Exception] = []

    def target() -> None:
        try:
            function(*arguments)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        for kernel in psutil.Process().children(recursive=True):
            kernel.kill()
        thread.join(timeout=5)
        raise
    return errors[0] if errors else None


def _prepend(folder: str, variable: str) -> str:
    return os.pathsep.join(filter(None, (folder, os.environ.get(variable))))


def _sentence(error: Any) -> str:
    """What went wrong in one line."""
    if isinstance(error, papermill.PapermillExecutionError):
        return f"cell [{error.exec_count}] raised {error.ename}: {' '.join(error.evalue.split())}"
    return f"the kernel failed with {type(error).__name__}: {' '.join(str(error).split())}"
