"""Accelerators: how is a fixed-point map iterated?"""

from fpa.accelerators.anderson import AndersonAcceleration as AndersonAcceleration
from fpa.accelerators.base import AbstractAccelerator as AbstractAccelerator
from fpa.accelerators.base import AbstractMixing as AbstractMixing
from fpa.accelerators.cells import GRU as GRU
from fpa.accelerators.cells import LSTM as LSTM
from fpa.accelerators.cells import AbstractCell as AbstractCell
from fpa.accelerators.classical import Picard as Picard
from fpa.accelerators.features import Features as Features
from fpa.accelerators.features import Normalizer as Normalizer
from fpa.accelerators.gated import GatedNetwork as GatedNetwork
from fpa.accelerators.intermittent import Intermittent as Intermittent
from fpa.accelerators.networks import MLP as MLP
from fpa.accelerators.networks import AbstractNetwork as AbstractNetwork
from fpa.accelerators.networks import FlatNetwork as FlatNetwork
from fpa.accelerators.networks import Linear as Linear
from fpa.accelerators.networks import collapse as collapse
from fpa.accelerators.predictions import Correction as Correction
from fpa.accelerators.predictions import Initializer as Initializer
from fpa.accelerators.recurrent import AbstractRecurrentNetwork as AbstractRecurrentNetwork
from fpa.accelerators.recurrent import FlatRecurrent as FlatRecurrent
from fpa.accelerators.recurrent import Recurrent as Recurrent
from fpa.accelerators.safeguard import Safeguarded as Safeguarded
from fpa.accelerators.site_gains import SiteRecurrent as SiteRecurrent
from fpa.accelerators.sites import SiteNetwork as SiteNetwork
from fpa.accelerators.sites import SiteTrunk as SiteTrunk
from fpa.accelerators.switch import Switch as Switch
