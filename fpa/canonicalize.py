"""From a CVXPY problem with Parameters to a pure-JAX map `parameters -> ConeProgram`.

A DPP problem has canonical data A, b, c that are affine in its parameters (Agrawal et al., 2019). CVXPY computes
that affine map once; afterwards CVXPY is never called again, and `jit`, `vmap` and `grad` apply.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from fpa.cones import AbstractCone, NonNegative, PositiveSemidefinite, Product, SecondOrder, Zero
from fpa.matrices import Sparsity, padded_size
from fpa.programs import ConeProgram, Point

_SPARSE_WHEN_BELOW = 0.1


class _Affine(eqx.Module):
    """theta -> base + T theta, where only some outputs vary.

    `slot` names, for each output, its row in the table of varying outputs (one past the end: constant); row r of
    the table is `sum_k coefficients[r, k] theta[positions[r, k]]`.
    """

    base: Float[Array, " size"]
    slot: Int[Array, " size"]
    positions: Int[Array, "rows width"]
    coefficients: Float[Array, "rows width"]

    def __init__(self, tensor: sp.csr_array, base: np.ndarray):
        lengths = np.diff(tensor.indptr)
        varying = np.flatnonzero(lengths)
        width = int(lengths.max(initial=0))
        positions, coefficients = np.zeros((len(varying), width), np.int32), np.zeros((len(varying), width))
        row = np.repeat(np.arange(len(varying)), lengths[varying])
        column = np.arange(tensor.nnz) - np.repeat(tensor.indptr[varying], lengths[varying])
        positions[row, column], coefficients[row, column] = tensor.indices, tensor.data
        slot = np.full(len(base), len(varying), np.int32)
        slot[varying] = np.arange(len(varying))
        self.base, self.slot = jnp.asarray(base), jnp.asarray(slot)
        self.positions, self.coefficients = jnp.asarray(positions), jnp.asarray(coefficients)

    def __call__(self, theta: Float[Array, " p"]) -> Float[Array, " size"]:
        base = self.base.astype(theta.dtype)
        rows, width = self.positions.shape
        if rows == 0:
            return base
        weights = self.coefficients.astype(theta.dtype)
        varying = sum(weights[:, k] * theta[self.positions[:, k]] for k in range(width))
        return base + jnp.append(varying, 0)[self.slot]


class _Recovery(eqx.Module):
    """The linear map from x to one CVXPY variable: a slice, spread over symmetric or sparse entries if need be."""

    start: int = eqx.field(static=True)
    stop: int = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    spread: Array | None

    def __call__(self, x: Float[Array, " n"]) -> Array:
        part = x[self.start : self.stop]
        full = part if self.spread is None else self.spread.astype(x.dtype) @ part
        return full.reshape(self.shape, order="F")


class Canonical(eqx.Module):
    """A family of cone programs, one for each value of the parameters. Made by `canonicalize`."""

    shapes: dict[str, tuple[int, ...]] = eqx.field(static=True)
    A: _Affine
    b: _Affine
    c: _Affine
    cone: AbstractCone
    sparsity: Sparsity | None
    variables: dict[str, _Recovery]
    P: Float[Array, "n n"] | None = None

    def __call__(self, parameters: Mapping[str, ArrayLike], context: Array | None = None) -> ConeProgram:
        """The program for `parameters`, a value for each varying Parameter by name.

        `context` is what networks see; by default everything that varies, `self.context(parameters)`.
        """
        theta = self.context(parameters)
        return self._assemble(theta, theta if context is None else context)

    @eqx.filter_jit
    def _assemble(self, theta: Float[Array, " p"], context: Array) -> ConeProgram:
        m, n = self.b.base.shape[0], self.c.base.shape[0]
        P = None if self.P is None else self.P.astype(theta.dtype)
        return ConeProgram(
            self.A(theta).reshape(n, m).T, self.b(theta), self.c(theta), self.cone, context, self.sparsity, P
        )

    def context(self, parameters: Mapping[str, ArrayLike]) -> Float[Array, " p"]:
        """All varying parameters as one vector, each column by column, in alphabetical order of their names."""
        if set(parameters) != set(self.shapes):
            raise ValueError(f"Expected the parameters {sorted(self.shapes)}, got {sorted(parameters)}.")
        for name, shape in self.shapes.items():
            _check_value(name, shape, parameters[name])
        dtype = jnp.result_type(float, *parameters.values())
        flat = [jnp.ravel(jnp.asarray(parameters[name], dtype), order="F") for name in self.shapes]
        return jnp.concatenate(flat) if flat else jnp.zeros((0,))

    def recover(self, point: Point) -> dict[str, Array]:
        """The values of the CVXPY variables, by name."""
        return {name: recovery(point.x) for name, recovery in self.variables.items()}


def _check_value(name: str, shape: tuple[int, ...], value: ArrayLike) -> None:
    if jnp.shape(value) != shape:
        raise ValueError(f"Parameter {name!r} must have shape {shape}, got {tuple(jnp.shape(value))}.")
    if not isinstance(value, Tracer) and not np.isfinite(np.asarray(value)).all():
        raise ValueError(f"Parameter {name!r} is not finite.")


def canonicalize(problem, varying: Sequence[str] | None = None, quadratic: bool = False) -> Canonical:
    """Canonicalise a CVXPY problem, once, into a map from parameters to cone programs.

    `varying` names the Parameters that vary (default: all); the others are fixed at their present values. Data
    A, b and c may all depend on parameters. With `quadratic` a quadratic objective stays one, P, which must not vary;
    else it becomes second-order cones. Variables of the problem come back by `Canonical.recover`.

    Raises ValueError, naming the culprit, if the problem is not convex, not DPP, has integer variables, cones other
    than zero, nonnegative, second-order and semidefinite, two parameters or variables of one name, a P that varies, or
    a fixed parameter without value.
    """
    _check(problem)
    parameters = _by_name(problem.parameters(), "parameters")
    varying = sorted(parameters) if varying is None else sorted(varying)
    for name in varying:
        if name not in parameters:
            raise ValueError(f"The problem has no parameter {name!r}; it has {sorted(parameters)}.")
    data, reductions, inverse = _conic_form(problem, parameters, quadratic)
    cone = _cone(data["dims"])
    tensors = _tensors(data["param_prob"], parameters, varying)
    return Canonical(
        shapes={name: tuple(parameters[name].shape) for name in varying},
        A=_Affine(*tensors["A"]),
        b=_Affine(*tensors["b"]),
        c=_Affine(*tensors["c"]),
        cone=cone,
        sparsity=_sparsity(*tensors["A"], shape=(cone.dim, len(tensors["c"][1]))),
        variables=_recoveries(problem, data["param_prob"], reductions, inverse),
        P=_quadratic_part(data["param_prob"]) if quadratic else None,
    )


def _check(problem):
    for variable in problem.variables():
        if variable.attributes["integer"] or variable.attributes["boolean"]:
            raise ValueError(f"Variable {variable.name()!r} is integer or boolean; only continuous ones are supported.")
        if variable.is_complex():
            raise ValueError(f"Variable {variable.name()!r} is complex; only real ones are supported.")
    for parameter in problem.parameters():
        if parameter.is_complex():
            raise ValueError(f"Parameter {parameter.name()!r} is complex; only real ones are supported.")
        if math.prod(parameter.shape) != parameter.size or _reduced(parameter):
            raise ValueError(f"Parameter {parameter.name()!r} is symmetric, diagonal or sparse; declare it without.")
    for part in [problem.objective, *problem.constraints]:
        if not part.is_dcp():
            raise ValueError(f"The problem is not convex by the rules of DCP: {part}.")
        if not part.is_dcp(dpp=True):
            names = sorted({parameter.name() for parameter in part.parameters()})
            raise ValueError(f"The problem is not DPP in its parameters {names}: {part}.")


def _reduced(leaf) -> bool:
    return any(leaf.attributes[name] for name in ("symmetric", "PSD", "NSD", "diag", "sparsity"))


def _by_name(leaves, kind: str) -> dict:
    named = {}
    for leaf in leaves:
        if leaf.name() in named:
            raise ValueError(f"Two {kind} of the problem are named {leaf.name()!r}; names must differ.")
        named[leaf.name()] = leaf
    return named


def _conic_form(problem, parameters: dict, quadratic: bool):
    """CVXPY's canonical data for SCS; parameter values do not matter and are put back."""
    import cvxpy as cp

    fresh = cp.Problem(problem.objective, problem.constraints)
    missing = [parameter for parameter in parameters.values() if parameter.value is None]
    try:
        for parameter in missing:
            parameter.value = parameter.project(np.ones(parameter.shape))
        canonical: Any = fresh.get_problem_data(cp.SCS, solver_opts={"use_quad_obj": quadratic})
    finally:
        for parameter in missing:
            parameter.value = None
    data, chain, inverse = canonical
    return data, chain.reductions, inverse


def _cone(dims) -> Product:
    for name, present in (("exponential", dims.exp), ("power", dims.p3d), ("power", getattr(dims, "pnd", []))):
        if present:
            raise ValueError(
                f"The problem needs the {name} cone; only zero, nonnegative, second-order and "
                "semidefinite cones are supported."
            )
    cones: list[AbstractCone] = [Zero(dims.zero)] if dims.zero else []
    cones += [NonNegative(dims.nonneg)] if dims.nonneg else []
    cones += [SecondOrder(size) for size in dims.soc] + [PositiveSemidefinite(order) for order in dims.psd]
    return Product(cones)


def _tensors(conic, parameters: dict, varying: list[str]) -> dict[str, tuple[sp.csr_array, np.ndarray]]:
    """For A (column by column), b and c: the tensor over theta and the constant part."""
    n = conic.x.size
    m = conic.A.shape[0] // (n + 1)
    stacked = sp.csc_array(sp.vstack([conic.A.tocsr(), conic.q.tocsr()]))
    constant = stacked[:, conic.param_id_to_col[-1]].toarray().ravel() if stacked.shape[1] else np.zeros(0)
    columns = []
    for name, parameter in sorted(parameters.items()):
        start = conic.param_id_to_col[parameter.id]
        block = stacked[:, start : start + parameter.size]
        if name in varying:
            columns.append(block)
        elif parameter.value is None:
            raise ValueError(f"Parameter {name!r} is fixed but has no value.")
        else:
            constant = constant + block @ np.ravel(parameter.value, order="F")
    tensor = sp.csr_array(sp.hstack(columns)) if columns else sp.csr_array((len(constant), 0))
    tensor.eliminate_zeros()
    rows = {"A": slice(0, m * n), "b": slice(m * n, m * (n + 1)), "c": slice(m * (n + 1), m * (n + 1) + n)}
    signs = {"A": -1.0, "b": 1.0, "c": 1.0}
    return {name: (signs[name] * tensor[rows[name]], signs[name] * constant[rows[name]]) for name in rows}


def _quadratic_part(conic) -> Float[Array, "n n"] | None:
    """P, or None where the objective is linear."""
    if conic.P is None:
        return None
    tensor = sp.csc_array(conic.P)
    if tensor[:, : conic.param_id_to_col[-1]].nnz:
        raise ValueError("The quadratic part of the objective depends on parameters; only its linear part may.")
    return jnp.asarray(tensor[:, [conic.param_id_to_col[-1]]].toarray().reshape(conic.x.size, conic.x.size, order="F"))


def _sparsity(tensor: sp.csr_array, base: np.ndarray, shape: tuple[int, int]) -> Sparsity | None:
    """The pattern of A over all parameters, where its padded lists are short."""
    entries = np.flatnonzero((np.diff(tensor.indptr) > 0) | (base != 0))
    cols, rows = np.divmod(entries, shape[0])
    short = padded_size(rows, cols, shape) < _SPARSE_WHEN_BELOW * math.prod(shape)
    return Sparsity(rows, cols, shape) if short else None


def _recoveries(problem, conic, reductions, inverse) -> dict[str, _Recovery]:
    from cvxpy.reductions.cvx_attr2constr import CvxAttr2Constr

    replaced = {}
    for reduction, data in zip(reductions, inverse, strict=False):
        if isinstance(reduction, CvxAttr2Constr) and data:
            replaced = data[0]
    named = _by_name(problem.variables(), "variables")
    return {name: _recovery(variable, replaced.get(variable.id, variable), conic) for name, variable in named.items()}


def _recovery(variable, replacement, conic) -> _Recovery:
    from cvxpy.reductions.cvx_attr2constr import recover_value_for_leaf

    start = conic.var_id_to_col[replacement.id]
    spread = None
    if _reduced(variable):
        basis = [recover_value_for_leaf(variable, unit, project=False) for unit in np.eye(replacement.size)]
        dense = [np.ravel(sp.csr_array(value).toarray(), order="F") for value in basis]
        spread = jnp.asarray(np.stack(dense, axis=1))
    return _Recovery(start, start + replacement.size, tuple(variable.shape), spread)
