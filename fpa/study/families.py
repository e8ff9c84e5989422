"""The families of the study whose accelerators are learned, and how networks see them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import fpa
from fpa.layouts import Layout, site_layout
from fpa.training import History, Regression


@dataclass(frozen=True)
class Family:
    """A family of the study: its distribution, its repeated parts, and the solver that makes its training targets.

    `labels` gives the families of labels for `site_layout`; `ordered` says which of the layout's groups are in a row.
    """

    title: str
    make: Callable[[], fpa.AbstractConeDistribution]
    labels: Callable[[], list[Mapping[str, np.ndarray]]]
    ordered: tuple[bool, ...]
    reference: fpa.Solver
    x_weight: float

    def regression(self, distribution: fpa.AbstractConeDistribution) -> Regression:
        """The distance to the solution; x counts `x_weight` times as much as y and s."""
        sizes = distribution.canonical.c.base.shape[0], distribution.canonical.b.base.shape[0]
        weights = jnp.asarray(np.repeat([self.x_weight, 1.0], [sizes[0], 2 * sizes[1]]))
        return Regression(self.reference, weights, tol=1e-6, log=False)

    def layout(self, distribution: fpa.AbstractConeDistribution) -> Layout:
        """The layout of the family's coordinates."""
        return site_layout(distribution.canonical, self.labels())


def _time_steps(steps: int = 50) -> list[Mapping[str, np.ndarray]]:
    step = np.arange(steps + 1)
    return [{"x": np.tile(step, (4, 1))} | {name: np.tile(step[:-1], (2, 1)) for name in "wvy"}]


FAMILIES = {
    "lasso": Family(
        "Lasso",
        fpa.Lasso,
        lambda: [{"z": np.arange(50)}, {"g": np.arange(100)}],
        (False, False, False),
        fpa.Solver(fpa.SCS(), fpa.AndersonAcceleration(memory=10, kind="II")),
        1.0,
    ),
    "kalman": Family(
        "Robust Kalman filtering",
        fpa.RobustKalman,
        _time_steps,
        (True, False),
        fpa.Solver(fpa.SCS(scale=2.15, zero_scale=1000.0, relaxation=1.7, rho_x=1e-6)),
        0.1,
    ),
}


def on_u(distribution: fpa.AbstractConeDistribution) -> Float[Array, " w"]:
    """1 on x and y, which recurrent models predict, and 0 on s, which belongs to v."""
    n, m = distribution.canonical.c.base.shape[0], distribution.canonical.b.base.shape[0]
    return jnp.asarray(np.repeat([1, 0], [n + m, m]), jnp.float32)


def summary(histories: Sequence[History]) -> dict[str, Any]:
    """What a model's file says of its training: losses of all stages in a row."""
    return {
        "update_seconds": round(sum(history.seconds for history in histories), 1),
        "updates": [len(history.losses) for history in histories],
        "losses": [np.round(loss, 5).tolist() for history in histories for loss in history.losses],
        "skipped": sum(history.skipped for history in histories),
        "dropped": sum(history.dropped for history in histories),
    }
