"""Problem sizes in standard form, beside those of the paper's Tables 1 and 2."""

from collections import Counter

import cvxpy as cp
import numpy as np
import pandas as pd

import fpa
from fpa.study.c_solvers import scs_cone

QUANTITIES = ("Variables n", "Constraints m", "nonzeros in A", "Zero", "Non-negative", "Second-order")


def _column(*cells: object) -> dict[str, str]:
    return dict(zip(QUANTITIES, map(str, cells), strict=True))


PAPER_TABLE_1 = {
    "Lasso": _column(102, 204, 5204, 0, 100, "[101, 3]"),
    "Kalman Filter": _column(655, 852, 1652, 350, 100, "[102] + [3] x 100"),
}
PAPER_TABLE_2 = {
    "Lasso (orig.)": _column(22, 44, 244, 0, 20, "[21, 3]"),
    "Lasso: q = 40": _column(22, 64, 444, 0, 20, "[41, 3]"),
    "Lasso: q = 60": _column(22, 84, 644, 0, 20, "[61, 3]"),
    "dynamic Lasso (2-step)": _column(53, 105, 525, 10, 40, "[41, 3, 11]"),
    "dynamic Lasso (3-step)": _column(83, 165, 805, 20, 60, "[61, 3, 21]"),
}


def compare(problems: dict[str, cp.Problem], paper: dict[str, dict[str, str]]) -> pd.DataFrame:
    """One row per cell: quantity, problem, the paper's value and ours."""
    rows = [
        {"quantity": quantity, "problem": name, "paper": paper[name][quantity], "ours": value}
        for name, problem in problems.items()
        for quantity, value in sizes(problem).items()
    ]
    return pd.DataFrame(rows)


def sizes(problem: cp.Problem) -> dict[str, str]:
    """Sizes of the canonical program. Nonzeros are entries of A that can be nonzero: parameters are drawn at random."""
    canonical = fpa.canonicalize(problem)
    rng = np.random.default_rng(0)
    program = canonical({name: 1 + rng.random(shape) for name, shape in canonical.shapes.items()})
    m, n = program.A.shape
    cone = scs_cone(program.cone)
    return _column(
        n,
        m,
        int(np.count_nonzero(program.A)),
        cone["z"],
        cone["l"],
        _written(cone["q"]),
    )


def _written(dims: list[int]) -> str:
    """[102, 3, 3, ...] as in the paper: sizes that occur once, then the repeated ones with their number."""
    counts = Counter(dims)
    parts = [f"[{', '.join(str(dim) for dim in dims if counts[dim] == 1)}]"]
    return " + ".join(parts + [f"[{dim}] x {count}" for dim, count in counts.items() if count > 1])
