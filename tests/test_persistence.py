"""Saved solvers: the same bits come back, from one file that says what it is, and nothing else is ever executed."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import KALMAN, LASSO, bound, draw, intermittent, intermittent_sites, recurrent, recurrent_sites

import fpa
import fpa.persistence
from fpa.accelerators import AndersonAcceleration, Picard, Safeguarded, Switch
from fpa.training import stack

SOLVERS = {
    "flat": (LASSO, lambda: fpa.Solver(fpa.SCS(scale=2.0), intermittent(bound(LASSO), factors=2))),
    "sites": (KALMAN, lambda: fpa.Solver(accelerator=intermittent_sites())),
    "lstm": (LASSO, lambda: fpa.Solver(accelerator=recurrent(bound(LASSO)))),
    "gru-sites": (KALMAN, lambda: fpa.Solver(accelerator=recurrent_sites())),
    "composed": (
        LASSO,
        lambda: fpa.Solver(
            accelerator=Safeguarded(Switch(intermittent(bound(LASSO)), 6, AndersonAcceleration(memory=2)), patience=3)
        ),
    ),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_loaded_solver_is_the_saved_one_bit_for_bit(name, tmp_path):
    family, make = SOLVERS[name]
    solver = make()
    fpa.save(tmp_path / "solver.npz", solver, family)
    loaded = fpa.load(tmp_path / "solver.npz")
    assert jax.tree.structure(loaded) == jax.tree.structure(solver)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(solver), strict=True):
        assert type(a) is type(b) and np.array_equal(a, b) and getattr(a, "dtype", 0) == getattr(b, "dtype", 0)


def test_a_loaded_solver_traces_the_same_residuals(tmp_path):
    solver = SOLVERS["composed"][1]()
    fpa.save(tmp_path / "solver.npz", solver)
    program = draw(LASSO, 5)
    expected, trace = solver.trace(program, 9), fpa.load(tmp_path / "solver.npz").trace(program, 9)
    assert np.array_equal(expected.fixed_point, trace.fixed_point) and np.array_equal(expected.gap, trace.gap)


def test_an_ensemble_and_a_note_can_be_saved(tmp_path):
    models = [intermittent(bound(LASSO), seed) for seed in (0, 1)]
    path = tmp_path / "solver.npz"
    fpa.save(path, fpa.Solver(accelerator=stack(models)), LASSO, note={"seconds": 3.5})
    header = fpa.read_header(path)
    assert header["note"] == {"seconds": 3.5} and header["fpa"] == fpa.__version__
    assert header["family"]["class"] == "Lasso" and header["family"]["settings"]["q"] == 4
    assert header["family"]["parameters"] == {"F": [4, 3], "g": [4], "mu": []}
    second = fpa.member(fpa.load(path).accelerator, 1)
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (second, models[1])), strict=True))


def test_half_precision_halves_the_file_and_loses_nothing_more(tmp_path):
    solver = SOLVERS["flat"][1]()
    small = fpa.halved(solver)
    for path, model in ((tmp_path / "full.npz", solver), (tmp_path / "half.npz", small)):
        fpa.save(path, model)
    assert (tmp_path / "half.npz").stat().st_size < 0.65 * (tmp_path / "full.npz").stat().st_size
    loaded = fpa.load(tmp_path / "half.npz")
    for a, b, c in zip(*map(jax.tree.leaves, (loaded, small, solver)), strict=True):
        assert np.array_equal(a, b)
        np.testing.assert_allclose(b, c, rtol=1e-3, atol=1e-7)
    assert fpa.halved(jnp.ones(2, jnp.float64)).dtype == jnp.float64


def test_what_is_no_saved_solver_is_refused(tmp_path):
    path = tmp_path / "solver.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a solver saved by fpa"):
        fpa.load(path)
    np.savez(path, a=np.ones(2))
    with pytest.raises(ValueError, match="is not a solver saved by fpa"):
        fpa.load(path)
    with path.open("wb") as file:
        np.save(file, np.ones(2))
    with pytest.raises(ValueError, match="is not a solver saved by fpa"):
        fpa.load(path)
    fpa.save(path, fpa.Solver())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="is not a solver saved by fpa"):
        fpa.load(path)


@pytest.mark.parametrize("name", ["os:system", "fpa.persistence:save", "fpa.cones:Nothing", "numpy:ndarray"])
def test_only_modules_come_out_of_a_file(name, tmp_path, monkeypatch):
    monkeypatch.setattr("fpa.persistence._encode", lambda node, arrays, trusted: {"class": name, "fields": {}})
    fpa.save(tmp_path / "solver.npz", fpa.Solver())
    with pytest.raises(ValueError, match=f"names the class '{name}'"):
        fpa.load(tmp_path / "solver.npz")


def edit(path, change):
    """Change the fields of the solver in a file, as if another version of fpa had written it."""
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays["header"].tobytes())
    change(header["solver"]["fields"])
    np.savez(path, **arrays | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)})


def test_a_field_younger_than_the_file_has_its_default(tmp_path):
    path, solver = tmp_path / "solver.npz", fpa.Solver(fpa.SCS(scale=2.0))
    fpa.save(path, solver)
    edit(path, lambda fields: fields["splitting"]["fields"].pop("rho_x"))
    loaded = fpa.load(path)
    assert "rho_x" in vars(loaded.splitting) and eqx.tree_equal(loaded, solver)


@pytest.mark.parametrize("name", ["second", "speed"])
def test_fields_that_do_not_fit_are_named(name, tmp_path):
    path = tmp_path / "solver.npz"
    fpa.save(path, fpa.Solver(accelerator=Switch(Picard(), 6, AndersonAcceleration())))
    change = {"second": lambda fields: fields.pop("second"), "speed": lambda fields: fields.update(speed=2)}[name]
    edit(path, lambda fields: change(fields["accelerator"]["fields"]))
    with pytest.raises(ValueError, match=f"another version of fpa, where .*Switch differs in {name}"):
        fpa.load(path)


class Foreign(Picard):
    """An accelerator that is not of fpa."""


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="Foreign is not of fpa, and could not be loaded"):
        fpa.save(tmp_path / "solver.npz", fpa.Solver(accelerator=Foreign()))
    assert not (tmp_path / "solver.npz").exists()


def test_modules_of_a_trusted_package_are_saved_and_loaded(tmp_path):
    trusted = (Foreign.__module__.split(".")[0],)
    fpa.save(tmp_path / "solver.npz", fpa.Solver(accelerator=Foreign()), trusted=trusted)
    assert type(fpa.load(tmp_path / "solver.npz", trusted).accelerator) is Foreign
    with pytest.raises(ValueError, match="Foreign', which is no module of this version"):
        fpa.load(tmp_path / "solver.npz")


def test_what_half_precision_cannot_hold_stays_as_it_is():
    large, small = fpa.halved((jnp.array([1e5, 1.0], jnp.float32), jnp.array([1 / 3], jnp.float32)))
    assert np.array_equal(large, np.float32([1e5, 1.0])) and small[0] == np.float32(np.float16(1 / 3))


def test_what_cannot_be_saved_is_named():
    with pytest.raises(ValueError, match="cannot write a function to a file"):
        fpa.persistence._encode(lambda: 0, [], ())
