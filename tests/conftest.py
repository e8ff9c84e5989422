"""Tests run in double precision; the package itself never touches JAX's flags."""

import jax
import pytest

from fpa.study.compilation import compile_quickly

jax.config.update("jax_enable_x64", True)
compile_quickly()


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """An empty repository, from whose notebooks' folder commands are given."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path
