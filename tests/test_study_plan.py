"""In which order runs begin: none reads what is unfinished, but for models that are there already."""

import threading

import pytest
from studies import WRITE, add

from fpa.study import manifest, runner, state
from fpa.study.plan import Plan


@pytest.fixture
def shared(clone):
    """A run that makes a model, one that loads all it makes, and one that loads the model."""
    add(clone, "first", WRITE, makes=["tables/first.csv", "models/first.npz"])
    add(clone, "second", WRITE, loads=["first"])
    add(clone, "third", WRITE, loads=["models/first.npz"])
    return state.load(clone, "laptop")


def keep(study, product, content):
    """Write a product at once, as runs do: another one may be reading."""
    path = study.folder / product
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(content)
    path.with_suffix(".new").replace(path)


def test_a_run_waits_for_what_is_being_made_and_for_nothing_else(shared):
    first, second, third = shared.specs.values()
    assert [spec.loads for spec in (second, third)] == [("tables/first.csv", "models/first.npz"), ("models/first.npz",)]
    assert second.sources == third.sources == ("first",)
    plan = Plan(shared, [first, second, third])
    assert [plan.take([]), plan.take([first])] == [first, None]
    assert [plan.take([]), plan.take([second])] == [second, third]
    assert plan.todo == []


@pytest.mark.parametrize("early", [True, False])
def test_a_run_begins_early_on_models_that_are_there_and_comes_up_again(shared, early):
    first, second, third = shared.specs.values()
    for product in first.makes:
        keep(shared, product, "old")
    plan = Plan(shared, [first, second, third], early=early)
    assert plan.take([]) == first
    assert plan.take([first]) == (third if early else None)
    assert plan.take([first, third]) is None and plan.take([first]) is None
    assert plan.todo == [second, third]
    assert [plan.take([third]), plan.take([second, third]), plan.take([second])] == [second, None, third]


def attempts(monkeypatch, study, models, fails=()):
    """Have runs do nothing but leave products, `first` when the returned event is set; returns what `third` saw too.

    `third` sets the event when it has ended.
    """
    seen, ended = [], threading.Event()

    def attempt(study, spec, environment):
        key, model = state.make_key(study, spec), study.folder / "models" / "first.npz"
        if spec.name == "third":
            seen.append(model.read_text())
        if spec.name == "first":
            assert ended.wait(20)
        failed = spec.name in fails and len(seen) == 1
        if not failed:
            for product in spec.makes:
                keep(study, product, models if product.startswith("models/") else "x")
            entry = {"key": key, "products": manifest.digests(study.folder, spec.makes), "wall_s": 0.0}
            runner.publish(study, spec, entry)
        if spec.name == "third":
            ended.set()
        return not failed

    monkeypatch.setattr(runner, "_attempt", attempt)
    return seen, ended


@pytest.mark.parametrize(("models", "saw"), [("old", ["old"]), ("new", ["old", "new"])])
def test_a_run_that_began_early_is_done_anew_if_the_models_change(shared, monkeypatch, models, saw):
    keep(shared, "models/first.npz", "old")
    seen, _ = attempts(monkeypatch, shared, models)
    assert runner.run(shared, jobs=2) == []
    assert seen == saw
    assert all(state.finished(shared, spec) for spec in shared.specs.values())


def test_a_run_that_failed_early_has_another_chance(shared, monkeypatch):
    keep(shared, "models/first.npz", "old")
    seen, _ = attempts(monkeypatch, shared, "new", fails=["third"])
    assert runner.run(shared, jobs=2) == []
    assert seen == ["old", "new"]


def test_a_run_that_is_up_to_date_on_old_models_is_looked_at_again(shared, monkeypatch):
    keep(shared, "models/first.npz", "old")
    attempts(monkeypatch, shared, "old")
    assert runner.run(shared, jobs=2) == []
    (shared.folder / "tables" / "first.csv").unlink()
    again, ended = attempts(monkeypatch, shared, "new")
    ended.set()
    assert runner.run(shared, jobs=2) == []
    assert again == ["new"]
    assert all(state.finished(shared, spec) for spec in shared.specs.values())
