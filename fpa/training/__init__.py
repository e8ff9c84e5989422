"""Training: what is minimised (objectives) and how (fit)."""

from fpa.training.calibrate import Calibration as Calibration
from fpa.training.calibrate import calibrate as calibrate
from fpa.training.calibrate import calibrate_access as calibrate_access
from fpa.training.ensembles import member as member
from fpa.training.ensembles import num_models as num_models
from fpa.training.ensembles import stack as stack
from fpa.training.fit import fit as fit
from fpa.training.loop import History as History
from fpa.training.metric import fit_metric as fit_metric
from fpa.training.objectives import AbstractObjective as AbstractObjective
from fpa.training.objectives import LastAccess as LastAccess
from fpa.training.objectives import LastError as LastError
from fpa.training.objectives import LastGap as LastGap
from fpa.training.objectives import LastKKT as LastKKT
from fpa.training.objectives import Regression as Regression
from fpa.training.objectives import TruncatedWindows as TruncatedWindows
from fpa.training.objectives import Unrolled as Unrolled
from fpa.training.pools import Pool as Pool
from fpa.training.pools import advance as advance
from fpa.training.pools import draw_pool as draw_pool
from fpa.training.segments import MeanValue as MeanValue
from fpa.training.segments import fit_segments as fit_segments
from fpa.training.validation import AbstractValidation as AbstractValidation
from fpa.training.validation import Validation as Validation
