"""Metrics on top of one another."""

import functools
import operator

import equinox as eqx

from fpa.maps.metric import AbstractMetric


class ProductMetric(AbstractMetric):
    """The product of metrics: one for a whole family, say, and what a network reads off an instance on top of it.

    Weights of x, of length n, and of the rows, of length m, are multiplied entry by entry. Each factor is constant
    within every cone that couples its rows, and so is the product.
    """

    factors: tuple[AbstractMetric, ...] = eqx.field(converter=tuple)

    def __check_init__(self):
        if not self.factors:
            raise ValueError("ProductMetric: factors must not be empty.")

    def __call__(self, program):
        x, s = zip(*(factor(program) for factor in self.factors), strict=True)
        return functools.reduce(operator.mul, x), functools.reduce(operator.mul, s)
