"""Strip notebooks of what a run leaves in them: `python -m fpa.study.strip [--check] NOTEBOOK...`.

Outputs stay in the cells marked `# NBVAL_CHECK_OUTPUT`, because nbval compares them with a new run. Equal sources
give equal bytes, and stripping twice is stripping once. With `--check` nothing is written.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from fpa.study.writing import write_text

MARK = "# NBVAL_CHECK_OUTPUT"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def strip(text: str) -> str:
    """The source of a notebook from its file's text."""
    notebook = nbformat.v4.reads(text)
    notebook.metadata, notebook.nbformat_minor = nbformat.from_dict(METADATA), 5
    for index, cell in enumerate(notebook.cells):
        cell.setdefault("id", f"cell-{index}")
        _strip_cell(cell)
    return nbformat.v4.writes(notebook) + "\n"


def _strip_cell(cell: NotebookNode) -> None:
    cell.metadata = NotebookNode(tags=cell.metadata.tags) if "tags" in cell.metadata else NotebookNode()
    if cell.cell_type == "code":
        checked = MARK in cell.source
        cell.execution_count = 1 if checked else None  # nbval compares no cell that seems never to have run
        cell.outputs = [_strip_output(output) for output in cell.outputs] if checked else []


def _strip_output(output: NotebookNode) -> NotebookNode:
    for name, value in {"execution_count": 1, "metadata": NotebookNode()}.items():
        if name in output:
            output[name] = value
    return output


def main(arguments: Sequence[str] | None = None) -> int:
    """Strip the named notebooks, or check that they are stripped; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fpa.study.strip", description="Strip notebooks of their outputs.")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if a notebook is not stripped")
    parser.add_argument("notebooks", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    found = {}
    for path in options.notebooks:
        try:
            text = path.read_text(encoding="utf-8")
            source = strip(text)
        except (OSError, ValueError) as error:
            parser.error(f"{path} cannot be read as a notebook: {error}")
        if source != text:
            found[path] = source
    for path, source in found.items():
        if options.check:
            print(f"{path} is not stripped: run `make format`.", file=sys.stderr)
        else:
            write_text(path, source)
            print(f"stripped {path}")
    return 1 if options.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
