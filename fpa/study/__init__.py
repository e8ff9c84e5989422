"""The study: runs of the notebooks, their stored results, pictures, claims and manifest.

Notebooks use `begin` (see `fpa.study.session`), `cached` (`fpa.study.store`) and `fpa.study.plotting`; everything
else is behind `python -m fpa.study`.
"""

import importlib

from fpa.study import plotting as plotting
from fpa.study.session import Run as Run
from fpa.study.session import begin as begin
from fpa.study.store import cached as cached


def __getattr__(name: str):
    """`benefit` brings SciPy's statistics and scikit-learn along, which nothing else here needs."""
    if name == "benefit":
        return importlib.import_module("fpa.study.prospects").benefit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
