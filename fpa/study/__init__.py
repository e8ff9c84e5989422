"""The study: runs of the notebooks, their stored results, pictures, claims and manifest.

Notebooks use `begin` (see `fpa.study.session`), `cached` (`fpa.study.store`) and `fpa.study.plotting`; everything
else is behind `python -m fpa.study`.
"""

from fpa.study import plotting as plotting
from fpa.study.session import Run as Run
from fpa.study.session import begin as begin
from fpa.study.store import cached as cached
