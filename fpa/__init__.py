"""Learned acceleration of fixed-point solvers for families of cone programs.

A solver is a splitting (which fixed-point map does this problem become?) and an accelerator (how is that map
iterated?); both are Equinox modules.
"""

from fpa.accelerators import AbstractAccelerator as AbstractAccelerator
from fpa.accelerators import AbstractMixing as AbstractMixing
from fpa.accelerators import AndersonAcceleration as AndersonAcceleration
from fpa.accelerators import Intermittent as Intermittent
from fpa.accelerators import LearnedMetric as LearnedMetric
from fpa.accelerators import Picard as Picard
from fpa.accelerators import Recurrent as Recurrent
from fpa.accelerators import Safeguarded as Safeguarded
from fpa.accelerators import Switch as Switch
from fpa.canonicalize import Canonical as Canonical
from fpa.canonicalize import canonicalize as canonicalize
from fpa.cones import AbstractCone as AbstractCone
from fpa.cones import NonNegative as NonNegative
from fpa.cones import PositiveSemidefinite as PositiveSemidefinite
from fpa.cones import Product as Product
from fpa.cones import SecondOrder as SecondOrder
from fpa.cones import Zero as Zero
from fpa.distributions import AbstractDistribution as AbstractDistribution
from fpa.distributions import BoxQP as BoxQP
from fpa.distributions import DynamicLasso as DynamicLasso
from fpa.distributions import FixedLasso as FixedLasso
from fpa.distributions import Lasso as Lasso
from fpa.distributions import Portfolio as Portfolio
from fpa.distributions import QuadcopterMPC as QuadcopterMPC
from fpa.distributions import RandomQP as RandomQP
from fpa.distributions import RobustKalman as RobustKalman
from fpa.distributions import role_key as role_key
from fpa.distributions import sample_batch as sample_batch
from fpa.distributions import stream as stream
from fpa.equilibration import equilibrate as equilibrate
from fpa.evaluation import Curves as Curves
from fpa.evaluation import evaluate as evaluate
from fpa.evaluation import evaluate_models as evaluate_models
from fpa.evaluation import iterations_to as iterations_to
from fpa.layouts import Layout as Layout
from fpa.layouts import site_layout as site_layout
from fpa.maps import SCS as SCS
from fpa.maps import AbstractFixedPointMap as AbstractFixedPointMap
from fpa.maps import AbstractMetric as AbstractMetric
from fpa.maps import AbstractSplitting as AbstractSplitting
from fpa.maps import ActiveSetMetric as ActiveSetMetric
from fpa.maps import ConstantMetric as ConstantMetric
from fpa.maps import DouglasRachford as DouglasRachford
from fpa.maps import giselsson_boyd as giselsson_boyd
from fpa.persistence import describe as describe
from fpa.persistence import halved as halved
from fpa.persistence import load as load
from fpa.persistence import read_header as read_header
from fpa.persistence import save as save
from fpa.programs import ConeProgram as ConeProgram
from fpa.programs import Point as Point
from fpa.programs import Residuals as Residuals
from fpa.solver import Solution as Solution
from fpa.solver import Solver as Solver
from fpa.solver import Status as Status
from fpa.solver import Trace as Trace
from fpa.training import LastError as LastError
from fpa.training import LastGap as LastGap
from fpa.training import LastKKT as LastKKT
from fpa.training import Regression as Regression
from fpa.training import TruncatedWindows as TruncatedWindows
from fpa.training import Unrolled as Unrolled
from fpa.training import Validation as Validation
from fpa.training import calibrate as calibrate
from fpa.training import fit as fit
from fpa.training import member as member
from fpa.training import num_models as num_models
from fpa.training import stack as stack
from fpa.tuning import tune as tune

__version__ = "0.1.0"
