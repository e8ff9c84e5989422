"""How the gain of a family is predicted from its features, and how well that goes for families left out.

A predictor is a regression of scikit-learn, from `features` (families, features) to `gains` (families,), log10. Which
of `PREDICTORS` is used is decided by the families that are there: the one that is least wrong where each of them is
left out. `OTHERS` are never used; they show what else was tried.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata, theilslopes
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import BayesianRidge, LassoCV, RidgeCV
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

_NEAREST = 3


class OneFeature(RegressorMixin, BaseEstimator):
    """A robust line (Theil-Sen) through the one feature whose ranks agree best with those of the gain."""

    def fit(self, features: np.ndarray, gains: np.ndarray) -> "OneFeature":
        """Choose the feature and fit the line to `features` (families, features) and `gains` (families,)."""
        self.chosen_ = int(np.argmax(np.nan_to_num(np.abs(spearman(features.T, gains)))))
        self.line_ = line(features[:, self.chosen_], gains)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The line at the chosen feature."""
        intercept, slope = self.line_
        return intercept + slope * features[:, self.chosen_]


class NearestFamilies(RegressorMixin, BaseEstimator):
    """The mean gain of the three families that are nearest in standardised features."""

    def fit(self, features: np.ndarray, gains: np.ndarray) -> "NearestFamilies":
        """Keep the families."""
        self.scaler_ = StandardScaler().fit(features)
        self.known_, self.gains_ = self.scaler_.transform(features), gains
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The mean gain of the nearest."""
        return self.gains_[self.nearest(features)].mean(axis=1)

    def nearest(self, features: np.ndarray) -> np.ndarray:
        """Which families are nearest, the nearest first, in a row for each row of features."""
        apart = self.scaler_.transform(features)[:, None] - self.known_
        return np.argsort(np.linalg.norm(apart, axis=-1), axis=1, kind="stable")[:, :_NEAREST]


PREDICTORS = {
    "one feature": OneFeature(),
    "ridge regression": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 11))),
    "nearest families": NearestFamilies(),
}
_GAUSSIAN_PROCESS = GaussianProcessRegressor(
    RBF(3.0, (1e-5, 1e12)) + WhiteKernel(0.1, (1e-12, 1e2)), normalize_y=True, n_restarts_optimizer=1, random_state=0
)
OTHERS = {
    "partial least squares": make_pipeline(StandardScaler(), PLSRegression(2)),
    "Gaussian process": make_pipeline(StandardScaler(), _GAUSSIAN_PROCESS),
    "support vectors": make_pipeline(StandardScaler(), SVR()),
    "random forest": RandomForestRegressor(50, random_state=0),
    "Bayesian ridge regression": make_pipeline(StandardScaler(), BayesianRidge()),
    "lasso": make_pipeline(StandardScaler(), LassoCV(cv=3, max_iter=100_000, tol=1e-3)),
}
_ALL = PREDICTORS | OTHERS


def left_out(name: str, features: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """The gain of each family as a predictor has it that knows all the others."""
    return np.ravel(cross_val_predict(_ALL[name], features, gains, cv=LeaveOneOut()))


def choose(features: np.ndarray, gains: np.ndarray) -> str:
    """The predictor with the smallest mean error where each family is left out."""
    return min(PREDICTORS, key=lambda name: float(np.abs(left_out(name, features, gains) - gains).mean()))


def fitted(name: str, features: np.ndarray, gains: np.ndarray) -> Any:
    """A predictor that knows these families."""
    return clone(_ALL[name]).fit(features, gains)


def line(feature: np.ndarray, gains: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of a robust line; a level one where the feature is the same everywhere."""
    if np.ptp(feature) == 0:
        return float(np.median(gains)), 0.0
    found = theilslopes(gains, feature)
    return float(found.intercept), float(found.slope)


def spearman(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Spearman's rank correlation along the last axis; nan where either is constant."""
    one, two = (rankdata(values, axis=-1) for values in (first, second))
    one, two = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (one, two))
    size = np.sqrt((one**2).sum(axis=-1) * (two**2).sum(axis=-1))
    return np.divide((one * two).sum(axis=-1), size, out=np.full(size.shape, np.nan), where=size > 0)
