"""Distributions of cone programs: a CVXPY problem and a sampler."""

from fpa.distributions.base import AbstractDistribution as AbstractDistribution
from fpa.distributions.base import role_key as role_key
from fpa.distributions.base import sample_batch as sample_batch
from fpa.distributions.base import stream as stream
from fpa.distributions.dynamic_lasso import DynamicLasso as DynamicLasso
from fpa.distributions.fixed_lasso import FixedLasso as FixedLasso
from fpa.distributions.kalman import RobustKalman as RobustKalman
from fpa.distributions.lasso import Lasso as Lasso
from fpa.distributions.quadratic import BoxQP as BoxQP
from fpa.distributions.quadratic import Portfolio as Portfolio
from fpa.distributions.quadratic import QuadcopterMPC as QuadcopterMPC
from fpa.distributions.quadratic import RandomQP as RandomQP
