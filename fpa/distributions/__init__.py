"""Distributions of programs: what is solved again and again, and a sampler of its parameters."""

from fpa.distributions.base import AbstractConeDistribution as AbstractConeDistribution
from fpa.distributions.base import AbstractDistribution as AbstractDistribution
from fpa.distributions.base import role_key as role_key
from fpa.distributions.base import sample_batch as sample_batch
from fpa.distributions.base import stream as stream
from fpa.distributions.composite import AbstractCompositeDistribution as AbstractCompositeDistribution
from fpa.distributions.composite import ImagePatches as ImagePatches
from fpa.distributions.composite import LabelledData as LabelledData
from fpa.distributions.composite import SparseCoding as SparseCoding
from fpa.distributions.composite import SparseLogistic as SparseLogistic
from fpa.distributions.dynamic_lasso import DynamicLasso as DynamicLasso
from fpa.distributions.fixed_lasso import FixedLasso as FixedLasso
from fpa.distributions.kalman import RobustKalman as RobustKalman
from fpa.distributions.lasso import Lasso as Lasso
from fpa.distributions.quadratic import BoxQP as BoxQP
from fpa.distributions.quadratic import Portfolio as Portfolio
from fpa.distributions.quadratic import QuadcopterMPC as QuadcopterMPC
from fpa.distributions.quadratic import RandomQP as RandomQP
