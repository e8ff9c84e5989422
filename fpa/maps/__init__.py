"""Splittings: which fixed-point map does a program become?"""

from fpa.maps.base import AbstractFixedPointMap as AbstractFixedPointMap
from fpa.maps.base import AbstractSplitting as AbstractSplitting
from fpa.maps.base import AbstractUnscaledMap as AbstractUnscaledMap
from fpa.maps.douglas_rachford import DouglasRachford as DouglasRachford
from fpa.maps.metric import AbstractMetric as AbstractMetric
from fpa.maps.metric import ActiveSetMetric as ActiveSetMetric
from fpa.maps.metric import ConstantMetric as ConstantMetric
from fpa.maps.metric import TunedMetric as TunedMetric
from fpa.maps.metric import giselsson_boyd as giselsson_boyd
from fpa.maps.product import ProductMetric as ProductMetric
from fpa.maps.proximal_gradient import AbstractStepSize as AbstractStepSize
from fpa.maps.proximal_gradient import InverseLipschitz as InverseLipschitz
from fpa.maps.proximal_gradient import ProximalGradient as ProximalGradient
from fpa.maps.proximal_gradient import Subgradient as Subgradient
from fpa.maps.scs import SCS as SCS
from fpa.maps.scs import SCSMap as SCSMap
