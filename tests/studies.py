"""Empty repositories with notebooks of their own, for tests of the runner."""

import json

import nbformat

PARAMETERS = 'run = "{run}"\nprofile = "smoke"\nseed = 0\nrate = 0.5'

STUDY = """
from fpa import study
here = study.begin(run, profile, globals())
value = study.cached("demo/value", lambda: {"rate": rate}, config={"rate": rate}, code=["fpa._progress"])
import pandas as pd
columns = study.plotting.COLUMNS
row = dict(zip(columns, [run, "50 iterations", "SCS", "primal", 1, *[value["rate"]] * 6, 5, 5, 1]))
frame = pd.DataFrame([row, row | {"iteration": 2}])[columns]
figure = study.plotting.convergence(frame, ("primal",))
here.save(figure, frame)
"""
WRITE = """
import os, pathlib
folder = pathlib.Path(os.environ["FPA_OUTPUT"], "tables")
folder.mkdir()
(folder / f"{run}.csv").write_text(f"seed,profile\\n{seed},{profile}\\n")
"""
FAIL = WRITE + '\nraise RuntimeError("on\\npurpose")'
WAIT = WRITE + '\npathlib.Path("../kernel").write_text(str(os.getpid()))\nimport time\ntime.sleep(60 * seed)'

MEET = (
    WRITE
    + """
import time
pathlib.Path(f"../{run}.here").touch()
for other in ("first", "second"):
    deadline = time.monotonic() + 60
    while not pathlib.Path(f"../{other}.here").exists():
        assert time.monotonic() < deadline, f"{other} does not run"
        time.sleep(0.05)
"""
)


def add(clone, name, source, makes=None, loads=(), seeds=(0, 1), notebook=None):
    """Add a run and its notebook to a clone."""
    cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell(PARAMETERS.format(run=name))]
    cells[1].metadata["tags"] = ["parameters"]
    book = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(source)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, clone / "notebooks" / f"{name}.ipynb")
    fields = {
        "notebook": notebook or f"{name}.ipynb",
        "loads": list(loads),
        "makes": [f"tables/{name}.csv"] if makes is None else makes,
        "parameters": {"every": {"rate": 0.5}, "smoke": {"seed": seeds[0]}, "laptop": {"seed": seeds[1]}},
    }
    with (clone / "notebooks" / "runs.yaml").open("a") as file:
        file.write(json.dumps({name: fields})[1:-1] + "\n")


def rewrite(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
