"""What a notebook begins with: its parameters in effect, and what earlier runs have made."""

import json
import os

import pytest
from studies import WRITE, add, rewrite

from fpa.study import runs, session
from fpa.study.errors import StudyError
from fpa.study.profiles import num_threads
from fpa.study.store import LEDGER


def test_a_run_uses_the_models_of_its_profile_or_the_committed_ones(clone):
    add(clone, "first", WRITE, makes=["data/first.csv", "models/first.npz"])
    add(clone, "zero", WRITE)
    add(clone, "second", WRITE, loads=["first", "zero"])
    assert [spec.name for spec in runs.select(runs.load(clone), ["second"])] == ["second"]
    run = session.begin("second", "smoke")
    with pytest.raises(StudyError, match="which the run first has not made yet"):
        run.model("first")
    with pytest.raises(StudyError, match=r"reads the models of third, models/third\.npz, which is not among its loads"):
        run.model("third")
    for profile in ("laptop", "smoke"):
        path = clone / "figures" / profile / "models" / "first.npz"
        path.parent.mkdir(parents=True)
        path.touch()
        assert run.model("first") == path
        path = clone / "figures" / profile / "data" / "first.csv"
        path.parent.mkdir(parents=True)
        path.write_text(f"profile\n{profile}\n")
        assert list(run.found()) == ["first"] and run.found()["first"].at[0, "profile"] == profile


@pytest.mark.parametrize(
    ("cell", "effective"),
    [
        ({"run": "first", "profile": "smoke", "seed": 0, "rate": 0.5}, {"seed": 0, "rate": 0.5}),
        ({"run": "first", "profile": "laptop", "seed": 0, "rate": 0.5}, {"seed": 1, "rate": 0.5}),
        ({"run": "first", "profile": "laptop", "seed": 7, "rate": 0.5}, {"seed": 7, "rate": 0.5}),
        ({"run": "second", "profile": "smoke", "seed": 0, "rate": 0.5}, {"seed": 2, "rate": 0.5}),
        ({"run": "second", "profile": "laptop", "seed": 3, "rate": 0.5}, {"seed": 3, "rate": 0.5}),
    ],
)
def test_a_changed_literal_stands_and_the_others_follow_run_and_profile(clone, cell, effective):
    add(clone, "first", WRITE, seeds=(0, 1))
    add(clone, "second", WRITE, seeds=(2, 3), notebook="first.ipynb")
    run = session.begin(cell["run"], cell["profile"], cell)
    assert run.parameters == effective
    assert {name: cell[name] for name in effective} == effective


def test_a_notebook_must_define_what_its_run_sets(clone):
    add(clone, "first", WRITE)
    with pytest.raises(StudyError, match=r"The run first sets seed, which first\.ipynb does not define\."):
        session.begin("first", "smoke", {"rate": 0.5})


@pytest.mark.parametrize(("listed", "outside", "used"), [(3, None, 3), (3, "2", 2), (None, None, num_threads())])
def test_a_run_has_as_many_threads_as_its_list_says(clone, monkeypatch, tmp_path, listed, outside, used):
    """A number from outside stands, and the record is of what is used."""
    add(clone, "first", WRITE)
    if listed:
        rewrite(clone / "notebooks" / "runs.yaml", '"loads": []', f'"threads": {listed}, "loads": []')
    monkeypatch.setenv("FPA_OUTPUT", str(tmp_path))
    monkeypatch.setenv("PJRT_NPROC", outside or "")
    if outside is None:
        monkeypatch.delenv("PJRT_NPROC")
    session.begin("first", "smoke")
    (entry,) = map(json.loads, (tmp_path / LEDGER).read_text().splitlines())
    assert entry["threads"] == used
    assert os.environ.get("PJRT_NPROC") == (None if used == num_threads() and not listed else str(used))
