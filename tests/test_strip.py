"""Stripping keeps sources, tags and checked outputs, and nothing that a run or an editor leaves behind."""

import json
from pathlib import Path

import nbformat
import pytest

from fpa.study.strip import MARK, main, strip


def notebook(count: int) -> str:
    """A notebook with the traces of its `count`-th run."""
    result = {"output_type": "execute_result", "data": {"text/plain": "2"}, "metadata": {}, "execution_count": count}
    cells = [
        {"cell_type": "markdown", "metadata": {"editable": True}, "source": "# Title"},
        {
            "cell_type": "code",
            "metadata": {"tags": ["parameters"], "papermill": {"duration": count}},
            "source": "n = 2",
        },
        {"cell_type": "code", "metadata": {}, "source": f"{MARK}\nn"},
    ]
    code = {"execution_count": count, "outputs": [result]}
    cells = [cell | code if cell["cell_type"] == "code" else cell for cell in cells]
    metadata = {"language_info": {"name": "python", "version": f"3.11.{count}"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def test_what_is_kept():
    stripped = strip(notebook(1))
    nbformat.validate(json.loads(stripped))
    markdown, parameters, checked = json.loads(stripped)["cells"]
    assert markdown["metadata"] == {} and parameters["metadata"] == {"tags": ["parameters"]}
    assert parameters["outputs"] == [] and checked["outputs"][0]["data"] == {"text/plain": ["2"]}
    assert parameters["execution_count"] is None
    assert checked["execution_count"] == checked["outputs"][0]["execution_count"] == 1


def test_equal_sources_give_equal_bytes():
    assert strip(notebook(1)) == strip(notebook(2)) == strip(strip(notebook(3)))


def test_check_writes_nothing_and_a_strip_satisfies_it(tmp_path, capsys):
    path: Path = tmp_path / "a.ipynb"
    path.write_text(notebook(1))
    assert main(["--check", str(path)]) == 1
    assert "a.ipynb is not stripped" in capsys.readouterr().err
    assert path.read_text() == notebook(1)
    assert main([str(path)]) == 0
    assert main(["--check", str(path)]) == 0


@pytest.mark.parametrize("text", [None, "not a notebook"])
def test_what_is_no_notebook_is_named(text, tmp_path, capsys):
    path = tmp_path / "a.ipynb"
    if text:
        path.write_text(text)
    with pytest.raises(SystemExit, match="2"):
        main([str(path)])
    assert "a.ipynb cannot be read as a notebook" in capsys.readouterr().err
