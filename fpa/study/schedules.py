"""Schedules of the study's own recipes, and their optimiser."""

import functools
from dataclasses import dataclass

import optax


@dataclass(frozen=True)
class ConstantRecipe:
    """Schedule of the training of one metric for all; the loss is taken after `steps` iterations."""

    steps: int
    updates: int
    batch: int
    rate: float

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """That of `adam`."""
        return adam(self.rate, self.updates)


@functools.cache
def adam(rate: float, updates: int) -> optax.GradientTransformation:
    """Adam with warm-up and cosine decay, and gradients clipped to length 1; one object, and so one compilation."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, max(updates // 10, 1), updates)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.99))
