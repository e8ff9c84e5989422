"""Tests run in double precision; the package itself never touches JAX's flags."""

import jax

jax.config.update("jax_enable_x64", True)
# Tests compile much and run little.
jax.config.update("jax_disable_most_optimizations", True)
