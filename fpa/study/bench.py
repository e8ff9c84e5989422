"""Timings, side by side in one run: our batched map against the C solvers, on the same instances.

Every method solves the whole batch; methods take turns, and the median over the rounds is reported. Compilation and
warm-up are reported apart. The quality columns come from one certificate for all: `ConeProgram.residuals`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clarabel
import equinox as eqx
import jax
import numpy as np
import pandas as pd
import scipy.sparse as sp
import scs

import fpa
from fpa._progress import progress
from fpa.study import profiles
from fpa.study.bench_training import training_update
from fpa.study.c_solvers import scs_cone, tune_scs
from fpa.study.profiles import num_threads
from fpa.study.writing import atomic

CHUNK = 100
SCS_STEPS = dict(max_iters=50, eps_abs=1e-15, eps_rel=1e-15, adaptive_scale=False)


# x, y and s of all instances, each with a leading instance axis.
Points = dict[str, Any]


@dataclass(frozen=True)
class Family:
    """A batch of instances of one distribution, as C solvers and as we see them."""

    name: str
    distribution: fpa.AbstractConeDistribution
    parameters: dict
    data: list[dict]
    fixed_A: bool

    @property
    def cone(self) -> fpa.AbstractCone:
        """The cone all instances share."""
        return self.distribution.canonical.cone


def family(name: str, distribution: fpa.AbstractConeDistribution, num_instances: int, role: str = "test") -> Family:
    """Draw `num_instances` instances and write their data in compressed columns."""
    parameters = fpa.sample_batch(distribution, fpa.role_key(0, role), num_instances)
    programs = jax.device_get(jax.vmap(lambda p: _data(distribution.program(p)))(parameters))
    data = [dict(A=sp.csc_matrix(A), b=b, c=c) for A, b, c in zip(*programs, strict=True)]
    fixed = bool(np.all(programs[0] == programs[0][0]))
    return Family(name, distribution, parameters, data, fixed)


def _data(program: fpa.ConeProgram):
    return program.A, program.b, program.c


@dataclass(frozen=True)
class Method:
    """A name, and how to solve all instances."""

    name: str
    run: Callable[[Family], Points]


def batched_steps(splitting: fpa.SCS) -> Callable[[Family], Points]:
    """50 iterations of our map, no residuals."""

    def one(distribution, parameters):
        op = splitting.bind(distribution.program(parameters))
        z = jax.lax.fori_loop(0, 49, lambda _, z: op(z)[0], op.initial())
        return op(z)[1]

    return _batched(one)


def batched_solve(splitting: fpa.SCS, accelerator: fpa.AbstractAccelerator, eps: float):
    """Our solver to `eps`."""
    solver = fpa.Solver(splitting, accelerator)
    return _batched(lambda d, parameters: solver.solve(d.program(parameters), tol=eps, max_steps=20_000).point)


def _batched(one) -> Callable[[Family], Points]:
    @eqx.filter_jit
    def run(distribution, parameters):
        return jax.lax.map(lambda p: one(distribution, p), parameters, batch_size=CHUNK)

    def points(family):
        point = jax.block_until_ready(run(family.distribution, family.parameters))
        return {name: getattr(point, name) for name in "xys"}

    return points


def scs_fresh(**options):
    """The C solver, a new workspace (and factorisation) per instance."""

    def run(family):
        cone = scs_cone(family.cone)
        return _stack([scs.SCS(data, cone, verbose=False, **options).solve() for data in family.data])

    return run


def scs_update(**options):
    """The C solver, one workspace whose b and c are updated: for a fixed A."""

    def run(family):
        workspace = scs.SCS(family.data[0], scs_cone(family.cone), verbose=False, **options)
        solutions = []
        for data in family.data:
            workspace.update(b=data["b"], c=data["c"])
            solutions.append(workspace.solve(warm_start=False))
        return _stack(solutions)

    return run


def _stack(solutions: list[dict]) -> Points:
    return {name: np.stack([solution[name] for solution in solutions]) for name in "xys"}


def clarabel_solve(eps: float):
    """The interior-point solver, one call per instance, on one thread."""
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.tol_feas = settings.tol_gap_abs = settings.tol_gap_rel = eps

    def run(family):
        cones = [_clarabel_cone(name, size) for name, size in _cone_list(scs_cone(family.cone))]
        n = family.data[0]["c"].size
        P = sp.csc_matrix((n, n))
        solutions = [
            clarabel.DefaultSolver(P, data["c"], data["A"], data["b"], cones, settings).solve() for data in family.data
        ]
        return _stack([dict(x=np.array(s.x), y=np.array(s.z), s=np.array(s.s)) for s in solutions])

    return run


def _cone_list(cone: dict) -> list[tuple[str, int]]:
    return [("z", cone["z"]), ("l", cone["l"]), *(("q", size) for size in cone["q"])]


def _clarabel_cone(name: str, size: int):
    kinds = {"z": clarabel.ZeroConeT, "l": clarabel.NonnegativeConeT, "q": clarabel.SecondOrderConeT}
    return kinds[name](size)


@dataclass(frozen=True)
class Task:
    """A group of methods that do the same work; the first is the reference of the ratios."""

    name: str
    family: Family
    methods: list[Method]

    def measure(self, rounds: int) -> pd.DataFrame:
        """One row per method: warm-up, median, ratio to the reference, and the quality of the points."""
        warm_up, points = {}, {}
        for method in self.methods:
            start = time.perf_counter()
            points[method.name] = method.run(self.family)
            warm_up[method.name] = time.perf_counter() - start
        seconds = {method.name: [] for method in self.methods}
        bar = [(r, method) for r in range(rounds) for method in self.methods]
        for _, method in progress(bar, total=len(bar), desc=f"{self.family.name}: {self.name}"):
            start = time.perf_counter()
            method.run(self.family)
            seconds[method.name].append(time.perf_counter() - start)
        reference = np.median(seconds[self.methods[0].name])
        return pd.DataFrame(
            [
                {
                    "family": self.family.name,
                    "instances": len(self.family.data),
                    "task": self.name,
                    "method": name,
                    "seconds_median": np.median(times),
                    "seconds_min": np.min(times),
                    "seconds_max": np.max(times),
                    "times_reference": np.median(times) / reference,
                    "first_call_extra_seconds": warm_up[name] - np.median(times),
                    **_quality(self.family, points[name]),
                }
                for name, times in seconds.items()
            ]
        )


def _quality(family: Family, points: Points) -> dict:
    def one(parameters, x, y, s):
        return family.distribution.program(parameters).residuals(fpa.Point(x, y, s)).worst

    worst = jax.jit(jax.vmap(one))(family.parameters, points["x"], points["y"], points["s"])
    worst = np.nan_to_num(np.asarray(worst), nan=np.inf)
    return {"worst_residual_median": np.median(worst), "worst_residual_max": np.max(worst)}


def tasks(family: Family, tuned: fpa.SCS, tuned_scs: dict) -> list[Task]:
    """All comparisons on one family."""
    off = dict(acceleration_lookback=0)
    steps = [Method("fpa, batched map", batched_steps(fpa.SCS()))]
    if family.fixed_A:
        steps.append(Method("scs, one workspace with update", scs_update(**SCS_STEPS, **off)))
    steps.append(Method("scs, fresh workspace per instance", scs_fresh(**SCS_STEPS, **off)))
    result = [Task("50 iterations", family, steps)]
    safe = fpa.Safeguarded(fpa.AndersonAcceleration())
    for eps in (1e-3, 1e-4):
        stop = dict(eps_abs=eps, eps_rel=eps, max_iters=20_000)
        methods = [
            Method("scs, defaults", scs_fresh(**stop)),
            Method("scs, tuned", scs_fresh(**stop, **tuned_scs)),
            Method("clarabel", clarabel_solve(eps)),
            Method("fpa, SCS", batched_solve(fpa.SCS(), fpa.Picard(), eps)),
            Method("fpa, SCS tuned", batched_solve(tuned, fpa.Picard(), eps)),
            Method("fpa, SCS tuned + safeguarded AA", batched_solve(tuned, safe, eps)),
        ]
        if family.fixed_A:
            methods.insert(2, Method("scs, tuned, one workspace with update", scs_update(**stop, **tuned_scs)))
        result.append(Task(f"time to eps = {eps:g}", family, methods))
    return result


NUM_INSTANCES = {
    "smoke": {"kalman": 10, "lasso": 10},
    "laptop": {"kalman": 500, "lasso": 512},
    "paper": {"kalman": 500, "lasso": 512},
}


def _show(table: pd.DataFrame) -> None:
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"), flush=True)


def main(root: Path, profile: str, rounds: int = 3) -> pd.DataFrame:
    """Measure everything, write `figures/<profile>/bench.csv` and print it."""
    jax.config.update("jax_enable_x64", True)
    counts = NUM_INSTANCES[profiles.get(profile).name]
    rows = []
    for name, distribution in (("kalman", fpa.RobustKalman()), ("lasso", fpa.Lasso())):
        tuned = fpa.tune(fpa.SCS(), distribution, fpa.role_key(0, "tune"))
        tuned_scs = tune_scs(family(name, distribution, 12, "tune").data, distribution.canonical.cone)
        print(f"{name}: tuned {tuned}; tuned scs {tuned_scs}")
        for task in tasks(family(name, distribution, counts[name]), tuned, tuned_scs):
            rows.append(task.measure(rounds).assign(dtype="float64"))
            _show(rows[-1])
    small: dict[str, Any] = {"p": 5, "q": 8, "batch": 4, "num_steps": 5} if profile == "smoke" else {}
    rows.append(training_update(rounds, **small))
    _show(rows[-1])
    threads = f"fpa {num_threads()}, scs 1, clarabel 1"
    table = pd.concat(rows).assign(rounds=rounds, threads=threads)
    with atomic(root / "figures" / profile / "bench.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.4g")
    return table
