"""Splittings: which fixed-point map does a program become?"""

from fpa.maps.base import AbstractFixedPointMap as AbstractFixedPointMap
from fpa.maps.base import AbstractSplitting as AbstractSplitting
from fpa.maps.scs import SCS as SCS
from fpa.maps.scs import SCSMap as SCSMap
