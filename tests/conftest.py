"""Tests run in double precision; the package itself never touches JAX's flags."""

import jax

jax.config.update("jax_enable_x64", True)
