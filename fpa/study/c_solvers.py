"""The C solver `scs` on our programs: its description of cones, and its best static settings for a family."""

from itertools import product

import numpy as np
import scs

from fpa import cones
from fpa._progress import progress

_NAMES = {cones.Zero: "z", cones.NonNegative: "l", cones.SecondOrder: "q", cones.PositiveSemidefinite: "s"}
_GRID = dict(
    scale=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0), rho_x=(1e-6, 1e-3), alpha=(1.5, 1.8), acceleration_lookback=(0, 10)
)


def scs_cone(cone: cones.AbstractCone) -> dict:
    """The cone as `scs` describes it: zero, nonnegative, second-order, semidefinite, in this order.

    Raises ValueError if the cones stand in another order.
    """
    parts = getattr(cone, "cones", (cone,))
    letters = [_NAMES[type(part)] for part in parts]
    if letters != sorted(letters, key="zlqs".index):
        raise ValueError(
            f"scs expects zero, nonnegative, second-order and semidefinite cones in this order, not {letters}."
        )
    sizes = {letter: [] for letter in "zlqs"}
    for letter, part in zip(letters, parts, strict=True):
        sizes[letter].append(getattr(part, "order", part.dim))
    return {"z": sum(sizes["z"]), "l": sum(sizes["l"]), "q": sizes["q"], "s": sizes["s"]}


def tune_scs(data: list[dict], cone: cones.AbstractCone, eps: float = 1e-4) -> dict:
    """The settings on a 48-point grid that need the fewest iterations to `eps`, in the mean over the instances."""
    described = scs_cone(cone)
    settings = [dict(zip(_GRID, values, strict=True)) for values in product(*_GRID.values())]

    def iterations(options: dict) -> float:
        stop = dict(eps_abs=eps, eps_rel=eps, max_iters=5_000, verbose=False)
        return float(np.mean([scs.SCS(d, described, **stop, **options).solve()["info"]["iter"] for d in data]))

    return min(progress(settings, total=len(settings), desc="tune scs"), key=iterations)
