"""Canonicalisation: for every value of the parameters the data are CVXPY's own."""

import functools

import cvxpy as cp
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DISTRIBUTIONS, blocks, instance, scs_cone, solve_scs
from problems import PROBLEMS, dynamic_lasso

from fpa.canonicalize import Canonical, canonicalize
from fpa.cones import NonNegative, PositiveSemidefinite, SecondOrder, Zero
from fpa.distributions.kalman import kalman_problem
from fpa.distributions.lasso import lasso_problem
from fpa.programs import Point

_COUNT = 3
ORACLE = {"solver": cp.SCS, "solver_opts": {"use_quad_obj": False}}


def draw(problem: cp.Problem, seed: int) -> dict[str, np.ndarray]:
    """Values of the parameters that have their signs."""
    rng = np.random.default_rng(seed)
    values = {p.name(): (p, rng.standard_normal(p.shape)) for p in sorted(problem.parameters(), key=lambda p: p.name())}
    return {name: np.abs(value) + 0.1 if p.is_nonneg() else value for name, (p, value) in values.items()}


def with_values(make, values: dict) -> cp.Problem:
    problem = make()
    for parameter in problem.parameters():
        parameter.value = values[parameter.name()]
    return problem


@eqx.filter_jit
@functools.partial(eqx.filter_vmap, in_axes=(None, 0, 0, 0))
def _mapped(canonical: Canonical, values: dict, direction: dict, index):
    """Programs, and of their data: values a step ahead, the derivative along the step, the adjoint at that."""
    del index  # there may be no parameters to map over

    def data(values):
        program = canonical(values)
        return program.A, program.b, program.c

    _, pushed = jax.jvp(data, (values,), (direction,))
    (pulled,) = jax.vjp(data, values)[1](pushed)
    program = canonical(values)
    return program, program.matrix.dense(), data(jax.tree.map(jnp.add, values, direction)), pushed, pulled


class Mapped:
    """One problem, canonicalised and evaluated at a few values; the work is done once for all laws."""

    def __init__(self, name: str):
        self.make = PROBLEMS[name]
        self.canonical = canonicalize(self.make())
        self.values = [draw(self.make(), seed) for seed in range(_COUNT)]
        self.direction = jax.tree.map(lambda *parts: np.stack(parts)[::-1] / 7, *self.values)
        stacked = jax.tree.map(lambda *parts: np.stack(parts), *self.values)
        index = np.arange(_COUNT)
        self.programs, self.dense, self.moved, self.pushed, self.pulled = jax.device_get(
            _mapped(self.canonical, stacked, self.direction, index)
        )


mapped = functools.cache(Mapped)
program_of = eqx.filter_jit(lambda canonical, values: canonical(values))
recover = eqx.filter_jit(lambda canonical, x, y, s: canonical.recover(Point(x, y, s)))


@pytest.mark.parametrize("name", PROBLEMS)
def test_data_are_those_of_cvxpy_under_jit_and_vmap(name):
    case = mapped(name)
    for i, values in enumerate(case.values):
        A, b, c = case.programs.A[i], case.programs.b[i], case.programs.c[i]
        data, _, _ = with_values(case.make, values).get_problem_data(**ORACLE)
        np.testing.assert_allclose(A, data["A"].toarray(), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(b, data["b"], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(c, data["c"], rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(case.dense[i], A)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_cone_is_that_of_cvxpy(name):
    data, _, _ = with_values(PROBLEMS[name], draw(PROBLEMS[name](), 0)).get_problem_data(**ORACLE)
    dims, cone = data["dims"], mapped(name).canonical.cone
    assert scs_cone(cone) == {"z": dims.zero, "l": dims.nonneg, "q": list(dims.soc), "s": list(dims.psd)}
    kinds = [(Zero, NonNegative, SecondOrder, PositiveSemidefinite).index(type(part)) for part, _ in blocks(cone)]
    assert kinds == sorted(kinds)


@pytest.mark.parametrize("name", PROBLEMS)
def test_derivatives_with_respect_to_parameters_are_differences(name):
    """The data are affine, so a difference of any length is exact; the adjoint is tested by <Jd, Jd> = <d, J'Jd>."""
    case = mapped(name)
    here = (case.programs.A, case.programs.b, case.programs.c)
    for ahead, behind, pushed in zip(case.moved, here, case.pushed, strict=True):
        np.testing.assert_allclose(pushed, ahead - behind, rtol=1e-9, atol=1e-12)
    squares = sum(np.sum(part**2) for part in case.pushed)
    inner = sum(np.sum(case.direction[key] * case.pulled[key]) for key in case.direction)
    np.testing.assert_allclose(inner, squares, rtol=1e-10)


@pytest.mark.parametrize("name", PROBLEMS)
def test_recover_gives_the_variables_of_cvxpy(name):
    """Both read the same outside solution."""
    case = mapped(name)
    problem = with_values(case.make, case.values[0])
    data, chain, inverse = problem.get_problem_data(**ORACLE)
    options = {"eps_abs": 1e-9, "eps_rel": 1e-9, "use_quad_obj": False}
    raw = chain.solve_via_data(problem, data, solver_opts=options)
    problem.unpack_results(raw, chain, inverse)
    recovered = recover(case.canonical, *(jnp.asarray(raw[key]) for key in "xys"))
    assert set(recovered) == {variable.name() for variable in problem.variables()}
    for variable in problem.variables():
        expected = variable.value.toarray() if hasattr(variable.value, "toarray") else variable.value
        assert recovered[variable.name()].shape == variable.shape
        np.testing.assert_allclose(recovered[variable.name()], expected, atol=1e-7)


@pytest.mark.parametrize("name", ["symmetric_variable", "everything_at_once"])
def test_an_outside_solution_of_the_program_solves_the_problem(name):
    case = mapped(name)
    problem = with_values(case.make, case.values[1])
    problem.solve(solver=cp.CLARABEL)
    point, status = solve_scs(instance(case.programs, 1))
    assert status == "solved"
    recovered = recover(case.canonical, point.x, point.y, point.s)
    for variable in problem.variables():
        np.testing.assert_allclose(recovered[variable.name()], variable.value, atol=1e-4)


def everything(**values) -> cp.Problem:
    problem = PROBLEMS["everything_at_once"]()
    for name, value in values.items():
        problem.param_dict[name].value = value
    return problem


@pytest.mark.parametrize("varying", [["F", "g", "weight", "ball"], ["g"], ["weight", "F"], []])
def test_only_varying_parameters_vary(varying):
    """The data agree, and what varies is all the map asks for and all that networks see."""
    values = mapped("everything_at_once").values[0]
    fixed = {name: value for name, value in values.items() if name not in varying}
    canonical = canonicalize(everything(**fixed), varying=varying)
    program = program_of(canonical, {name: values[name] for name in varying})
    expected = instance(mapped("everything_at_once").programs, 0)
    for ours, theirs in ((program.A, expected.A), (program.b, expected.b), (program.c, expected.c)):
        np.testing.assert_allclose(ours, theirs, atol=1e-13)
    in_order = [np.ravel(values[name], order="F") for name in sorted(varying)]
    np.testing.assert_array_equal(program.context, np.concatenate([*in_order, np.zeros(0)]))


def test_a_given_context_takes_the_place_of_the_parameters():
    case = mapped("bounds_in_b")
    context = jnp.array([1.0, 2.0])
    np.testing.assert_array_equal(case.canonical(case.values[0], context).context, context)


def test_parameter_values_are_left_alone():
    problem = everything(g=np.array([3.0, 4.0]), weight=2.0)
    canonicalize(problem)
    canonicalize(problem, varying=["F", "ball"])
    values = {name: parameter.value for name, parameter in problem.param_dict.items()}
    assert values["F"] is None and values["ball"] is None and values["weight"] == 2
    np.testing.assert_array_equal(values["g"], [3, 4])


def test_parameter_values_are_left_alone_also_by_a_problem_that_is_refused():
    x, p = cp.Variable(2, name="x"), cp.Parameter(2, name="p")
    with pytest.raises(ValueError, match="exponential cone"):
        canonicalize(cp.Problem(cp.Minimize(cp.sum(cp.exp(x)) + p @ x)))
    assert p.value is None


@pytest.mark.parametrize("name", ["everything_at_once", "sparse_data", "no_parameters"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_follows_the_parameters(name, dtype):
    case = mapped(name)
    values = {key: value.astype(dtype) for key, value in case.values[0].items()}
    shape = jax.eval_shape(case.canonical, values)
    expected = dtype if values else np.float64
    assert {shape.A.dtype, shape.b.dtype, shape.c.dtype, shape.context.dtype} == {np.dtype(expected)}


def test_plain_numbers_and_integers_are_parameters_too():
    canonical = mapped("bounds_in_b").canonical
    program = canonical({"lower": np.array([1, 2, 3]), "width": 2})
    expected = canonical({"lower": np.array([1.0, 2.0, 3.0]), "width": np.array(2.0)})
    np.testing.assert_array_equal(program.b, expected.b)
    assert program.b.dtype == np.float64


def size(canonical: Canonical, problem: cp.Problem) -> tuple:
    """n, m, nonzero entries and cones of the canonical program at random parameters."""
    program = jax.device_get(program_of(canonical, draw(problem, 0)))
    cone = scs_cone(program.cone)
    assert not cone["s"]
    return *reversed(program.A.shape), np.count_nonzero(program.A), cone["z"], cone["l"], cone["q"]


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (lambda: lasso_problem(50, 100), (102, 204, 5204, 0, 100, [101, 3])),
        (lambda: lasso_problem(10, 20), (22, 44, 244, 0, 20, [21, 3])),
        (lambda: lasso_problem(10, 40), (22, 64, 444, 0, 20, [41, 3])),
        (lambda: lasso_problem(10, 60), (22, 84, 644, 0, 20, [61, 3])),
        (lambda: dynamic_lasso(10, 20, 2), (53, 105, 525, 10, 40, [41, 3, 11])),
        (lambda: dynamic_lasso(10, 20, 3), (83, 165, 805, 20, 60, [61, 3, 21])),
        (lambda: kalman_problem(50, 12.0, 2.0, 2.0), (655, 852, 1652, 350, 100, [102, *[3] * 100])),
    ],
    ids=["lasso", "lasso-20", "lasso-40", "lasso-60", "dynamic-2", "dynamic-3", "kalman"],
)
def test_sizes_are_those_of_tables_1_and_2(problem, expected):
    problem = problem()
    assert size(canonicalize(problem), problem) == expected


def test_few_entries_are_kept_sparse_and_many_dense():
    assert mapped("sparse_data").canonical.sparsity is not None
    assert mapped("least_squares_in_A").canonical.sparsity is None
    assert DISTRIBUTIONS["lasso"].canonical.sparsity is None


x, y = cp.Variable(2, name="x"), cp.Variable(2, name="y")
p, q = cp.Parameter(2, name="p"), cp.Parameter(nonneg=True, name="q")
S = cp.Parameter((2, 2), symmetric=True, name="S")


@pytest.mark.parametrize(
    ("objective", "constraints", "message"),
    [
        (cp.Minimize(cp.sqrt(x[0])), [], r"not convex by the rules of DCP: minimize .*x\[0\]"),
        (cp.Maximize(cp.norm(x)), [], r"not convex by the rules of DCP: maximize"),
        (cp.Minimize(x[0]), [cp.norm(x) >= 1], r"not convex by the rules of DCP: 1.0 <= .*\(x, 2\)"),
        (cp.Minimize(cp.norm(x)), [cp.multiply(p, p) + x <= 1], r"not DPP in its parameters \['p'\]"),
        (cp.Minimize(q * q * cp.norm(x) + p @ x), [], r"not DPP in its parameters \['p', 'q'\]"),
        (cp.Minimize(cp.sum(cp.exp(x))), [], r"needs the exponential cone"),
        (cp.Minimize(x[0]), [cp.PowCone3D(x[0], x[1], y[0], 0.3), y[0] >= 1], r"needs the power cone"),
        (cp.Minimize(cp.sum(cp.Variable(2, integer=True, name="k"))), [], r"'k' is integer or boolean"),
        (cp.Minimize(cp.sum(cp.Variable(2, boolean=True, name="flag"))), [], r"'flag' is integer or boolean"),
        (cp.Minimize(cp.norm(cp.Variable(2, complex=True, name="w") - 1)), [], r"'w' is complex"),
        (cp.Minimize(cp.norm(cp.Parameter(2, complex=True, name="h") + x)), [], r"'h' is complex"),
        (cp.Minimize(cp.norm(S @ x - 1)), [], r"'S' is symmetric, diagonal or sparse"),
        (cp.Minimize(p @ x + cp.Parameter(name="p") * y[0]), [cp.norm(x) <= 1], r"parameters .* named 'p'"),
        (cp.Minimize(cp.norm(x) + cp.norm(cp.Variable(name="x"))), [], r"variables .* named 'x'"),
    ],
)
def test_a_problem_that_is_refused_names_the_culprit(objective, constraints, message):
    with pytest.raises(ValueError, match=message):
        canonicalize(cp.Problem(objective, constraints))


@pytest.mark.parametrize(
    ("varying", "message"),
    [
        (["g", "nope"], r"no parameter 'nope'; it has \['F', 'ball', 'g', 'weight'\]"),
        (["g"], r"'F' is fixed but"),
    ],
)
def test_bad_choices_of_what_varies_name_the_parameter(varying, message):
    with pytest.raises(ValueError, match=message):
        canonicalize(everything(), varying=varying)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1.0}, r"Expected the parameters \['lower', 'width'\], got \['extra', 'lower', 'width'\]"),
        ({"lower": np.ones(4)}, r"'lower' must have shape \(3,\), got \(4,\)"),
        ({"lower": np.ones((3, 1))}, r"'lower' must have shape \(3,\), got \(3, 1\)"),
        ({"width": np.ones(1)}, r"'width' must have shape \(\), got \(1,\)"),
        ({"lower": np.array([0, np.nan, 0])}, r"'lower' is not finite"),
    ],
)
def test_bad_values_name_the_parameter(change, message):
    case = mapped("bounds_in_b")
    with pytest.raises(ValueError, match=message):
        case.canonical(case.values[0] | change)


def test_a_missing_value_names_the_parameters():
    with pytest.raises(ValueError, match=r"Expected the parameters \['lower', 'width'\], got \['lower'\]"):
        mapped("bounds_in_b").canonical({"lower": np.ones(3)})
