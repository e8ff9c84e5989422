"""Tests run in double precision; the package itself never touches JAX's flags."""

import jax

from fpa.study.compilation import compile_quickly

jax.config.update("jax_enable_x64", True)
compile_quickly()
