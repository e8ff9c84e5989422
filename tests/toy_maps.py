"""Small fixed-point maps that are no solver's, and a map that counts its applications."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import io_callback

from fpa.cones import Zero
from fpa.maps import AbstractFixedPointMap, AbstractSplitting
from fpa.programs import ConeProgram, Point, norm


def empty_program(dim: int) -> ConeProgram:
    """A program with A, b and c equal to zero: the residuals of a point are its length and zero."""
    return ConeProgram(np.zeros((dim, dim)), np.zeros(dim), np.zeros(dim), Zero(dim))


def affine(M, q, z):
    return M @ z + q


def folded(M, q, z):
    return M @ jnp.abs(z) + q


def flattening(M, q, z):
    """From far away Newton's and secant methods diverge, plain iteration does not."""
    return z - jnp.arcsinh(z - q)


class Toy(AbstractFixedPointMap):
    """f(z) = rule(M, q, z)."""

    M: Array
    q: Array
    start: Array
    program: ConeProgram
    rule: Callable = eqx.field(static=True)

    def __call__(self, z):
        fz = self.rule(self.M, self.q, z)
        return fz, Point(fz, fz, fz)

    def initial(self):
        return self.start

    def lift(self, point, tau):
        return point.x

    def coordinates(self, z):
        return z

    def defect(self, w):
        return (w - self(w)[0])[None]

    @property
    def data(self):
        return self.q[None]

    @property
    def scales(self):
        return jnp.zeros(0)

    def enter(self, w, tau):
        return w

    def scale(self, z):
        return jnp.ones(()), jnp.ones((), bool)

    def size(self, z):
        return jnp.ones(())

    def residual(self, z, fz):
        return norm(z - fz)

    def residual_normalized(self, z, fz):
        return norm(z - fz)

    def certificate(self, z):
        return Point(z, z, z)


def random_toy(seed: int, dim: int, rule: Callable = affine, rate: float = 0.9) -> Toy:
    """A map whose M is no symmetric matrix, of spectral norm `rate`."""
    rng = np.random.default_rng(seed)
    M, q, start = rng.standard_normal((dim, dim)), rng.standard_normal(dim), 10 * rng.standard_normal(dim)
    M = rate * M / np.linalg.norm(M, 2)
    return Toy(jnp.asarray(M), jnp.asarray(q), jnp.asarray(start), empty_program(dim), rule)


class Tally:
    """How often something happened."""

    def __init__(self):
        self.count = 0

    def add(self):
        self.count += 1


class Counted(AbstractFixedPointMap):
    """`op`, with every application that is really carried out counted in `tally`."""

    op: AbstractFixedPointMap
    tally: Tally = eqx.field(static=True)

    @property
    def program(self):
        return self.op.program

    def __call__(self, z):
        io_callback(self.tally.add, None, ordered=True)
        return self.op(z)

    def initial(self):
        return self.op.initial()

    def lift(self, point, tau):
        return self.op.lift(point, tau)

    def coordinates(self, z):
        return self.op.coordinates(z)

    def defect(self, w):
        return self.op.defect(w)

    @property
    def data(self):
        return self.op.data

    @property
    def scales(self):
        return self.op.scales

    def enter(self, w, tau):
        return self.op.enter(w, tau)

    def scale(self, z):
        return self.op.scale(z)

    def size(self, z):
        return self.op.size(z)

    def residual(self, z, fz):
        return self.op.residual(z, fz)

    def residual_normalized(self, z, fz):
        return self.op.residual_normalized(z, fz)

    def certificate(self, z):
        return self.op.certificate(z)


class Bound(AbstractSplitting):
    """The splitting that turns every program into the same map."""

    op: AbstractFixedPointMap

    def bind(self, program):
        return self.op
