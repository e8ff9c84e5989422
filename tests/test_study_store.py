"""The store recomputes when, and only when, something that determines a result has changed."""

import json
import os
import time

import jax
import jax.numpy as jnp
import pytest

from fpa.distributions import FixedLasso
from fpa.study import fingerprint, store
from fpa.study.errors import StudyError
from fpa.study.files import find_root
from fpa.study.writing import atomic

SOLVER = '''
"""A module."""
from .maps import scs
from toy import norms as n

def solve(x):
    """Solve."""
    # a comment
    return scs.apply(x) + n.TWO
'''
PACKAGE = {
    "__init__.py": "from toy.solver import solve as solve\nfrom toy.unused import f",
    "solver.py": SOLVER,
    "maps/__init__.py": "from toy.maps.scs import apply as apply",
    "maps/scs.py": "from ..norms import TWO\ndef apply(x):\n    return x * TWO\n",
    "norms.py": "TWO = 2\n",
    "unused.py": "def f(): return 0\n",
}
SMALL = ["fpa._progress"]  # some code, quickly read
ABOUT_SOLVER = {"toy.solver", "toy.maps.scs", "toy.norms"}


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "toy"
    (folder / "maps").mkdir(parents=True)
    for name, text in PACKAGE.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def clone(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_modules_of_equal_shape_and_other_numbers_are_told_apart():
    first, second, nearly = (FixedLasso(2, 3, F=jnp.full((3, 2), value)) for value in (1.0, 2.0, 1 + 1e-12))
    assert repr(first) == repr(second)
    assert store.identify(first) == store.identify(nearly) != store.identify(second)


def test_the_code_of_a_module_is_what_it_imports(package):
    assert set(fingerprint.closure(["toy.solver"], package)) == ABOUT_SOLVER
    assert set(fingerprint.closure(["toy"], package)) == ABOUT_SOLVER | {"toy", "toy.unused"}
    assert set(fingerprint.closure(["toy.maps"], package)) == {"toy.maps", "toy.maps.scs", "toy.norms"}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("import toy\ntoy.solve(1)", ABOUT_SOLVER),
        ("import toy as t\nt.f()", {"toy.unused"}),
        ("from toy import f", {"toy.unused"}),
        ("from toy.maps import apply", {"toy.maps.scs", "toy.norms"}),
        ("import toy\ntoy.norms.TWO", {"toy.norms"}),
        ("import toy\nprint(toy)", ABOUT_SOLVER | {"toy", "toy.unused"}),
        ("import toy.norms", {"toy.norms"}),
    ],
)
def test_a_name_leads_to_the_module_that_defines_it(package, user, expected):
    (package / "user.py").write_text(user)
    assert set(fingerprint.closure(["toy.user"], package)) == expected | {"toy.user"}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("solver.py", '"""A module."""', '"""Another word."""'),
        ("solver.py", '"""Solve."""', '"""Solve it well."""'),
        ("solver.py", "    # a comment\n", ""),
        ("solver.py", "scs.apply(x) + n.TWO", "(\n        scs.apply(x)\n        + n.TWO\n    )"),
        ("unused.py", "return 0", "return 1"),
        ("__init__.py", "from toy.unused import f", ""),
    ],
)
def test_prose_layout_and_other_modules_keep_the_digest(package, name, old, new):
    before = fingerprint.digest(["toy.solver"], package)
    edit(package / name, old, new)
    assert fingerprint.digest(["toy.solver"], package) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("solver.py", "+ n.TWO", "- n.TWO"),
        ("solver.py", "return scs", '"""An expression, no docstring."""\n    return scs'),
        ("maps/scs.py", "x * TWO", "x + TWO"),
        ("norms.py", "2", "3"),
        ("norms.py", "2", "2.0"),
        ("norms.py", "2", "None"),
    ],
)
def test_code_changes_the_digest(package, name, old, new):
    before = fingerprint.digest(["toy.solver"], package)
    edit(package / name, old, new)
    assert fingerprint.digest(["toy.solver"], package) != before


def test_an_unknown_module_is_named(package):
    with pytest.raises(StudyError, match=r"no module 'toy\.sovler'"):
        fingerprint.digest(["toy.sovler"], package)


def test_a_result_is_computed_once(clone, capsys):
    calls = []

    def compute():
        calls.append(1)
        return {"loss": (0.1, float("inf")), "n": 3}

    first = store.cached("toy/model", compute, config={"n": 3}, code=SMALL)
    assert (
        first
        == store.cached("toy/model", compute, config={"n": 3}, code=SMALL)
        == {"loss": [0.1, float("inf")], "n": 3}
    )
    assert len(calls) == 1
    key = store.make_key("toy/model", {"n": 3}, SMALL)[:12]
    assert capsys.readouterr().out.splitlines() == [f"store: miss toy/model {key}", f"store: hit toy/model {key}"]


def test_the_key_covers_name_configuration_precision_and_code():
    def key(name="a", n=1, code="fpa._progress"):
        return store.make_key(name, {"n": n}, [code])

    with jax.enable_x64(False):
        single = key()
    keys = {key(), key(name="b"), key(n=1.0), key(n=2), key(code="fpa.study.profiles"), single}
    assert len(keys) == 6
    assert key() == key()


def test_the_ledger_records_instead_of_printing(clone, monkeypatch, capsys):
    monkeypatch.setenv("FPA_OUTPUT", str(clone))
    store.cached("a", lambda: 1, config={}, code=SMALL)
    (entry,) = map(json.loads, (clone / store.LEDGER).read_text().splitlines())
    assert entry == {"name": "a", "key": store.make_key("a", {}, SMALL), "hit": False}
    assert capsys.readouterr().out == ""


def test_fresh_recomputes_what_is_older(clone, monkeypatch):
    assert store.cached("a", lambda: 1, config={}, code=SMALL) == 1
    monkeypatch.setenv("FPA_FRESH", str(time.time() + 100))
    assert store.cached("a", lambda: 2, config={}, code=SMALL) == 2
    monkeypatch.setenv("FPA_FRESH", str(time.time() - 100))
    assert store.cached("a", lambda: 3, config={}, code=SMALL) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_nothing(clone, error):
    def save(value, path):
        path.write_text("half")
        raise error

    with pytest.raises(error):
        store.cached("a", lambda: 1, config={}, code=SMALL, format=store.Format(".txt", save, load=open))
    assert [path for path in (clone / ".store").rglob("*") if path.is_file()] == []


def test_an_interrupted_replacement_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic(file) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    ("name", "config", "culprit"),
    [("../a", {}, "'../a'"), ("a b", {}, "'a b'"), ("a", {"solver": object()}, "'solver'")],
)
def test_what_cannot_be_stored_is_named(clone, name, config, culprit):
    with pytest.raises(StudyError, match=culprit):
        store.cached(name, lambda: 1, config=config)
    assert not (clone / ".store").exists()


def test_outside_a_clone_there_is_no_store(tmp_path):
    with pytest.raises(StudyError, match=r"no folder at or above it has a pyproject\.toml"):
        find_root(tmp_path)
