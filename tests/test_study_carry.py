"""Models outlive a change of code that changes no number, and no other."""

import json
import subprocess
from pathlib import Path

import pytest

from fpa.study import carry, equivalence, fingerprint, manifest, models
from fpa.study.session import Run

CODE = "def three():\n    return 3\n"
SAME = "def three():\n    return 2 + 1\n"
RUNS = """
one: {notebook: one.ipynb, loads: [], makes: [models/one.json], parameters: {}}
none: {notebook: none.ipynb, loads: [], makes: [none.png], parameters: {}}
"""


def _git(root: Path, *command: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", "-C", root, *author, *command], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository whose package was committed as `CODE` and now reads `SAME`."""
    for name, text in {
        "pyproject.toml": "",
        "fpa/__init__.py": "",
        "fpa/toy.py": CODE,
        "notebooks/runs.yaml": RUNS,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", "-A")
    _git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "fpa/toy.py").write_text(SAME)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FPA_FRESH", raising=False)
    return tmp_path


def _training(monkeypatch, root, of_old, of_new, new_name="one"):
    """Let every tree train the run `one`, with these results, the new tree in a file of that name."""

    def train(tree, names):
        assert names == ["one"]
        folder = tree / "figures" / "smoke"
        (folder / "models").mkdir(parents=True)
        result, name = (of_new, new_name) if tree == root else (of_old, "one")
        (folder / "models" / f"{name}.json").write_text(json.dumps({"key": str(tree), "made_s": 1.0, "result": result}))
        use = {"name": f"models/{name}", "key": "", "hit": False, "code": ["fpa.toy"]}
        manifest.write(folder, {"one": {"products": {f"models/{name}.json": ""}, "store": [use], "commit": "c0ffee"}})

    monkeypatch.setattr(carry, "_train", train)


def test_code_that_trains_the_same_stands_for_the_older(clone, monkeypatch):
    _training(monkeypatch, clone, {"w": 3.0, "seconds": 4.0}, {"w": 3.0, "seconds": 5.0})
    assert carry.carry(clone, "HEAD") == {"one": []}
    (entry,) = equivalence.read(clone)
    assert entry["code"] == ["fpa.toy"] and entry["shown_by"] == ["one"] and entry["commit"] == "c0ffee"
    now = fingerprint.digest(["fpa.toy"], clone / "fpa")
    assert entry["is"] == now and equivalence.older(clone, now) == [entry["was"]] != [now]
    assert not (clone / "build" / "carried").exists()


def test_code_that_trains_something_else_does_not(clone, monkeypatch):
    _training(monkeypatch, clone, {"w": 3.0}, {"w": 3.0000000001})
    assert carry.carry(clone, "HEAD") == {"one": ["one.json"]}
    assert equivalence.read(clone) == []


def test_models_that_only_one_code_makes_show_nothing(clone, monkeypatch):
    _training(monkeypatch, clone, {"w": 3.0}, {"w": 3.0}, new_name="renamed")
    assert carry.carry(clone, "HEAD") == {"one": []}
    assert equivalence.read(clone) == []


def test_an_unknown_commit_is_named(clone):
    with pytest.raises(carry.StudyError, match=r"'v9'"):
        carry.carry(clone, "v9")


def test_equivalence_goes_back_step_by_step(tmp_path):
    (tmp_path / "figures").mkdir()
    equivalence.note(tmp_path, [{"is": "b", "was": "a"}, {"is": "c", "was": "b"}, {"is": "x", "was": "y"}])
    equivalence.note(tmp_path, [{"is": "c", "was": "b"}])
    assert equivalence.older(tmp_path, "c") == ["b", "a"] and equivalence.older(tmp_path, "a") == []
    assert len(equivalence.read(tmp_path)) == 3


def test_a_committed_model_is_found_under_an_older_key(clone, monkeypatch):
    calls: list = []
    code = ["fpa._progress"]

    def run():
        here = Run("one", "laptop", {}, (), clone / "figures" / "laptop", clone / "staging")
        return models.recorded(here, lambda: calls.append(1) or 7, {"n": 3}, code)

    digests = {"now": fingerprint.digest(code)}
    monkeypatch.setattr(fingerprint, "digest", lambda modules: digests["now"])
    assert run() == 7 and len(calls) == 1
    committed = clone / "figures" / "laptop" / "models" / "one.json"
    committed.parent.mkdir(parents=True)
    (clone / "staging" / "models" / "one.json").rename(committed)
    equivalence.note(clone, [{"is": "newer", "was": digests["now"]}])
    digests["now"] = "newer"
    assert run() == 7 and len(calls) == 1
    digests["now"] = "unrelated"
    assert run() == 7 and len(calls) == 2
