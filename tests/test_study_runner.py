"""The runner: a run is whole or not at all, never done twice for nothing, and bad names write nothing."""

import functools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from studies import FAIL, MEET, STUDY, WAIT, WRITE, add, rewrite

from fpa._progress import progress
from fpa.study import execute, manifest, notebooks, runner, runs, state
from fpa.study.__main__ import main
from fpa.study.errors import StudyError
from fpa.study.files import find_root, sha256

ROOT = Path(__file__).parents[1]


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def alive(pid):
    """Whether a process runs: a dead one may still be listed where nobody asks for its exit status."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def left_over(clone):
    """Half-written files and staging folders."""
    staging = clone / ".store" / "staging"
    hidden = [path for folder in ("figures", "notebooks") for path in (clone / folder).rglob(".*")]
    return hidden + (list(staging.iterdir()) if staging.exists() else [])


def test_a_run_is_published_whole_and_then_up_to_date(clone, monkeypatch, capsys):
    decoy = clone / "decoy" / "kernels" / "python3"
    decoy.mkdir(parents=True)
    (decoy / "kernel.json").write_text('{"argv": ["false"], "display_name": "another", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(clone / "decoy"))
    products = ["data/demo.csv", "demo.pdf", "demo.png"]
    add(clone, "demo", STUDY, products)

    assert main(["run"]) == 0
    folder = clone / "figures" / "laptop"
    assert files(folder) == ["claims.csv", *products, "executed/demo.ipynb", "manifest.json"]
    entry = manifest.read(folder)["demo"]
    assert entry["products"] == {name: sha256(folder / name) for name in [*products, "executed/demo.ipynb"]}
    assert entry["parameters"] == {"run": "demo", "profile": "laptop", "seed": 1, "rate": 0.5}
    assert [result["hit"] for result in entry["store"]] == [False]
    assert entry["wall_s"] > 0 and entry["threads"] >= 1 and entry["device"] and entry["packages"]["jax"]
    executed = (folder / "executed" / "demo.ipynb").read_text()
    assert "image/png" in executed and str(clone) not in executed and "duration" not in executed
    assert "store: miss demo/value" in capsys.readouterr().out

    assert main(["run"]) == 0
    assert "demo: up to date" in capsys.readouterr().out
    assert main(["check"]) == 0
    assert left_over(clone) == []

    (folder / "demo.png").write_bytes(b"")
    assert main(["check"]) == 1
    assert "demo: demo.png has changed" in capsys.readouterr().out
    assert main(["run"]) == 0
    assert [result["hit"] for result in manifest.read(folder)["demo"]["store"]] == [True]
    assert manifest.read(folder)["demo"]["products"] == entry["products"]


def test_failures_are_named_and_leave_no_product(clone, capsys):
    add(clone, "good", WRITE)
    add(clone, "bad", FAIL)
    add(clone, "short", WRITE, makes=["tables/short.csv", "data/more.csv"])
    add(clone, "long", WRITE, makes=[])
    assert main(["run", "--profile", "smoke"]) == 1
    told = capsys.readouterr()
    assert "bad: failed: cell [3] raised RuntimeError: on purpose (see .store/failed/smoke/bad.ipynb)" in told.out
    assert "short: failed: it did not make data/more.csv, which runs.yaml lists" in told.out
    assert "long: failed: it made tables/long.csv, which runs.yaml does not list" in told.out
    assert told.err == "Failed: bad, short, long.\n", told.out
    assert files(clone / "figures") == [
        "smoke/claims.csv",
        "smoke/executed/good.ipynb",
        "smoke/manifest.json",
        "smoke/tables/good.csv",
    ]
    assert left_over(clone) == []


def test_every_process_is_asked_once_how_it_ended():
    """Many that start and end at the same time, each looked after by a thread of its own."""
    codes = [number % 3 for number in range(90)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(functools.partial(execute._exit_code, sys.exit), codes)) == codes


def test_an_interrupted_study_goes_on_where_it_was(clone):
    add(clone, "first", WRITE)
    add(clone, "second", WAIT, seeds=(0, 1), loads=["first"])
    command = [sys.executable, "-m", "fpa.study", "run"]
    options = {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True, "stdout": -1, "stderr": -1}
    options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored in background jobs
    process = subprocess.Popen(command, **options)
    while not (clone / "kernel").exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert err == "Interrupted; finished runs are kept, and the same command goes on from here.\n"
    assert not alive(int((clone / "kernel").read_text()))
    assert files(clone / "figures" / "laptop" / "tables") == ["first.csv"]
    assert left_over(clone) == []

    rewrite(clone / "notebooks" / "runs.yaml", '"laptop": {"seed": 1}', '"laptop": {"seed": 0}')
    before = manifest.read(clone / "figures" / "laptop")["first"]["started"]
    study = state.load(clone, "laptop")
    assert runner.run(study, ["second"]) == []
    assert set(manifest.read(study.folder)) == {"first", "second"}
    assert manifest.read(study.folder)["first"]["started"] == before


def test_a_smoke_run_does_each_notebook_once_and_named_runs_always(clone):
    add(clone, "first", WRITE)
    add(clone, "second", WRITE, notebook="first.ipynb")
    add(clone, "third", WRITE, loads=["second"])
    study = {profile: state.load(clone, profile) for profile in ("smoke", "laptop")}
    assert study["smoke"].default_runs == ["first", "third"]
    assert study["laptop"].default_runs == ["first", "second", "third"]
    assert runner.run(study["smoke"], ["first"]) == []
    assert list(manifest.read(study["smoke"].folder)) == ["first"]


def test_runs_that_do_not_load_each_other_are_executed_at_once(clone, capsys):
    add(clone, "first", MEET)
    add(clone, "second", MEET)
    add(clone, "third", WRITE, loads=["first", "second"])
    assert main(["run", "--jobs", "2"]) == 0
    assert set(manifest.read(clone / "figures" / "laptop")) == {"first", "second", "third"}
    with pytest.raises(SystemExit):
        main(["run", "--jobs", "0"])
    assert "'0' is not a positive whole number" in capsys.readouterr().err


def test_names_of_runs_are_read_from_lists_of_other_code(clone):
    add(clone, "first", WRITE)
    add(clone, "second", WRITE)
    rewrite(clone / "notebooks" / "runs.yaml", '"loads": []', '"timed": true, "loads": []')
    assert runs.names(clone) == ["first", "second"]
    with pytest.raises(StudyError, match="unknown field 'timed'"):
        runs.load(clone)


@pytest.mark.parametrize(
    ("edits", "arguments", "sentence"),
    [
        ({}, ["--run", "frist"], "There is no run 'frist'; the runs are first, second."),
        ({}, ["--profile", "lap"], "There is no profile 'lap'; the profiles are smoke, laptop, paper."),
        ({'"rate"': '"rat"'}, [], "The run first in profile laptop sets 'rat', which first.ipynb does not define"),
        ({'"every": {"rate": 0.5}, ': ""}, [], "sets no value for 'rate', a parameter of first.ipynb."),
        ({'{"seed": 1}': '{"seed": "1e3"}'}, [], "sets seed to '1e3', but first.ipynb has 0 there."),
        ({'"every"': '"each"'}, [], "gives parameters for no profile: 'each'."),
        ({'"makes"': '"makse"'}, [], "run first lacks the field 'makes'."),
        ({'"loads": []': '"timed": true, "loads": []'}, [], "run first has the unknown field 'timed'."),
        (
            {'"loads": []': '"threads": 0, "loads": []'},
            [],
            "first has threads: 0 where a positive",
        ),
        ({'"loads": []': '"loads": ["second"]'}, [], "run first loads 'second', which is no earlier run nor made by"),
        ({'"loads": []': '"loads": "first"'}, [], "run first has loads: 'first' where a list was expected."),
        (
            {'"loads": []': '"loads": ["models/no.npz"]'},
            [],
            "run first loads 'models/no.npz', which is no earlier run nor made by one.",
        ),
        ({"first.ipynb": "frist.ipynb"}, [], "There is no notebook frist.ipynb in "),
        ({"{": "{{"}, [], "runs.yaml is not YAML: "),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(clone, capsys, edits, arguments, sentence):
    add(clone, "first", WRITE)
    add(clone, "second", WRITE)
    for old, new in edits.items():
        rewrite(clone / "notebooks" / "runs.yaml", old, new)
    assert main(["run", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert not (clone / "figures").exists() and not (clone / ".store").exists()


def test_a_notebook_needs_one_cell_of_literals(clone):
    for cell, sentence in {
        "tags": "has 0 cells tagged 'parameters'",
        "rate = 0.5": "has something else than assignments of literals",
    }.items():
        add(clone, "a", WRITE)
        rewrite(clone / "notebooks" / "a.ipynb", cell, "rate = 2 * seed")
        with pytest.raises(StudyError, match=sentence):
            notebooks.literals(clone / "notebooks" / "a.ipynb")


def test_the_key_of_a_run_covers_what_its_products_follow_from(clone):
    add(clone, "zero", WRITE)
    add(clone, "second", "from fpa import study", loads=["zero"])

    def key():
        study = state.load(clone, "laptop")
        return state.make_key(study, study.specs["second"])

    def change(file, text):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        keys.append(key())

    keys = [key()]
    change(clone / "requirements.lock", "jax==1")
    change(clone / "figures" / "laptop" / "tables" / "zero.csv", "numbers")
    book, listed = clone / "notebooks" / "second.ipynb", clone / "notebooks" / "runs.yaml"
    change(book, book.read_text().replace("# Title", "# Another title"))
    change(book, book.read_text().replace("import study", "import cones"))
    change(listed, listed.read_text().replace('"rate": 0.5', '"rate": 0.25'))
    assert len(set(keys)) == len(keys)
    change(book, book.read_text().replace('"execution_count": null', '"execution_count": 7'))
    change(listed, listed.read_text().replace('"smoke": {"seed": 0}', '"smoke": {"seed": 9}'))
    assert len(set(keys[-3:])) == 1


def test_products_that_are_made_no_more_are_removed(clone):
    add(clone, "first", WRITE)
    study = state.load(clone, "laptop")
    spec = study.specs["first"]
    for name in ("old", "new"):
        file = study.folder / f"{name}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        runner.publish(study, spec, {"products": manifest.digests(study.folder, [file.name])})
    assert files(study.folder) == ["claims.csv", "manifest.json", "new.csv"]


def test_bars_go_to_the_channel(tmp_path, monkeypatch, capsys):
    channel = tmp_path / "terminal"
    for value in (str(channel), "off"):
        monkeypatch.setenv("FPA_PROGRESS", value)
        assert list(progress(range(3), desc="training")) == [0, 1, 2]
    assert channel.read_text().count("training") >= 1
    assert capsys.readouterr().err == ""


def test_the_root_is_found_from_the_notebooks(clone):
    assert find_root() == clone
