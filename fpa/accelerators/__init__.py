"""Accelerators: how is a fixed-point map iterated?"""

from fpa.accelerators.anderson import AndersonAcceleration as AndersonAcceleration
from fpa.accelerators.base import AbstractAccelerator as AbstractAccelerator
from fpa.accelerators.base import AbstractMixing as AbstractMixing
from fpa.accelerators.classical import Picard as Picard
from fpa.accelerators.safeguard import Safeguarded as Safeguarded
from fpa.accelerators.switch import Switch as Switch
