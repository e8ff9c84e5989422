"""Ada-LISTA, an unrolled method for least squares with l1 (Aberdam et al., 2021)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fpa.accelerators.base import AbstractSteady


class AdaLISTA(AbstractSteady):
    """x_{k+1} = S(x_k - g_k A'(W1'W1 A x_k - W2'b), t_k) with soft thresholding S, and learned W1, W2 (m x m), g and t.

    The map is that of `ProximalGradient` on `LeastSquares`. g and t have a number for each layer; the last layer's
    serve beyond. Gradients of the residual are the plain ones where W1'W1 = W2 = I. Its size is that of training.
    """

    W1: Float[Array, "m m"]
    W2: Float[Array, "m m"]
    steps: Float[Array, " layers"]
    thresholds: Float[Array, " layers"]

    def __init__(self, m: int, layers: int = 10, step: float = 0.2):
        if layers < 1:
            raise ValueError(f"AdaLISTA: layers must be at least 1, got {layers}.")
        self.W1, self.W2 = jnp.eye(m, dtype=jnp.float32), jnp.eye(m, dtype=jnp.float32)
        self.steps = jnp.full((layers,), step, jnp.float32)
        self.thresholds = jnp.full((layers,), step, jnp.float32)

    def init(self, op, start=None):
        if not hasattr(op, "in_metric"):
            raise ValueError(f"AdaLISTA needs the map of ProximalGradient, not {type(op).__name__}.")
        smooth, regularizer = op.program.smooth, op.program.regularizer
        if not hasattr(smooth, "b") or not hasattr(regularizer, "weight"):
            found = f"{type(smooth).__name__} with {type(regularizer).__name__}"
            raise ValueError(f"AdaLISTA is made for LeastSquares with L1, not for {found}.")
        if smooth.b.shape != self.W1.shape[:1]:
            raise ValueError(f"AdaLISTA is made for m = {self.W1.shape[0]}; b has shape {smooth.b.shape}.")
        z = op.initial() if start is None else start
        return z, jnp.zeros((), jnp.int32)

    def step(self, op: Any, z, state: Int[Array, ""]):
        smooth = op.program.smooth
        layer = jnp.minimum(state, self.steps.shape[0] - 1)
        W1, W2, step, threshold = (a.astype(z.dtype) for a in (self.W1, self.W2, self.steps, self.thresholds))
        left = smooth.A.T @ (W1.T @ (W1 @ (smooth.A @ z)) - W2.T @ smooth.b)
        weight = jnp.maximum(threshold[layer], jnp.finfo(z.dtype).tiny) / op.program.regularizer.weight
        x, point = op.in_metric(jnp.full_like(z, weight)).backward(z - step[layer] * left)
        plain, _ = op(z)
        return x, state + 1, plain, point
