"""What notebooks import, imported once for all of them in the server from which their kernels are forked.

Nothing is computed here: a fork takes along neither threads nor devices.
"""

import gc
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")

import cvxpy  # noqa: F401
import ipykernel.kernelapp  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import papermill  # noqa: F401

import fpa.study  # noqa: F401

gc.freeze()  # what is here stays, so kernels need not look through it for garbage
