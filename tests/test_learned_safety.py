"""Around anything learned the safeguard converges: random weights, NaN weights, data far from those of training."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import KALMAN, LASSO, bound, intermittent, recurrent

from fpa.accelerators import AndersonAcceleration, Picard, Safeguarded, Switch
from fpa.distributions import sample_batch
from fpa.solver import Solver, Status
from fpa.study.learned import composed

FAMILIES = {"lasso": LASSO, "kalman": KALMAN}
MODELS = {"intermittent": lambda op: intermittent(op, access=(1, 4)), "recurrent": lambda op: recurrent(op, depth=1)}
SPOIL = {
    "random": lambda weights: 30 * weights,
    "nan": lambda weights: weights * jnp.nan,
    "shifted": lambda weights: weights,
}
SHIFTED = {"lasso": "g", "kalman": "y"}


def _shift(family: str, batch: dict) -> dict:
    name = SHIFTED[family]
    return batch | {name: 100 * batch[name]}


@eqx.filter_jit
def _solve(accelerator, distribution, batch, tol=1e-3):
    solver = Solver(accelerator=accelerator)
    one = lambda p: solver.solve(distribution.program(p), tol=tol, max_steps=20_000)  # noqa: E731
    return jax.vmap(one)(batch)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("spoiled", SPOIL)
def test_a_safe_model_is_hardly_later_than_plain_iteration(family, spoiled):
    """Composed as in the study within a fifth and ten iterations, as residuals are looked at every ten.

    Alone, without Anderson acceleration after it, within a fifth and a constant; on data a hundred times their usual
    size it converges, but a bad start may cost more. There, on the Lasso, one of the six instances may be later than
    that when composed, and which it is depends on how a processor rounds; their mean may not.
    """
    distribution = FAMILIES[family]
    batch = sample_batch(distribution, jax.random.key(11), 6)
    data = _shift(family, batch) if spoiled == "shifted" else batch
    plain = _solve(Picard(), distribution, data)
    assert np.all(plain.status == Status.SOLVED)
    spoil = SPOIL[spoiled]
    spared = 1 if (family, spoiled) == ("lasso", "shifted") else 0
    for kind, make in MODELS.items():
        model = jax.tree.map(lambda x: spoil(x) if eqx.is_inexact_array(x) else x, make(bound(distribution)))
        safe = composed(Solver(accelerator=model)).accelerator
        for accelerator, constant in ((safe, 10), (Safeguarded(model), 50)):
            solution = _solve(accelerator, distribution, data)
            assert np.all(solution.status == Status.SOLVED), kind
            if accelerator is safe or spoiled != "shifted":
                late = np.asarray(solution.iterations) - 1.2 * np.asarray(plain.iterations)
                assert np.sort(late)[-1 - spared] <= constant and late.mean() <= constant, (kind, late)
            assert accelerator is safe or spoiled != "nan" or np.array_equal(solution.iterations, plain.iterations)


def test_a_switch_starts_anderson_acceleration_where_the_model_stands():
    op = bound(LASSO)
    model = intermittent(op, access=(1, 4), tau=3.0)
    solver = Solver(accelerator=Switch(model, 6, AndersonAcceleration()))
    z, state = model.init(op)
    expected, _, _ = Solver(accelerator=model).run(op, z, state, 0, 6)
    reached, _, _ = solver.run(op, *solver.accelerator.init(op), 0, 6)
    np.testing.assert_allclose(reached, expected, rtol=1e-6, atol=1e-9)
    end, _, trace = solver.run(op, *solver.accelerator.init(op), 0, 60)
    assert trace.fixed_point[-1] < 1e-6 and jnp.all(jnp.isfinite(end))
