"""How far raters agree: Krippendorff's alpha and the intraclass correlation of their mean.

Own code: the one package for alpha is GPL, and scipy and statsmodels have neither.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def krippendorff_alpha(ratings: ArrayLike) -> float | None:
    """Ordinal alpha of ratings (raters x units), NaN = not rated; None when nothing can be said.

    1 = full agreement, 0 = as by chance. Source: Krippendorff, Content Analysis (2004), 11.3;
    the distance of two ranks is the number of values between them, each end counted half.
    """
    matrix = np.asarray(ratings, dtype=np.float64)
    units = [column[~np.isnan(column)] for column in matrix.T]
    units = [column for column in units if len(column) >= 2]
    if not units:
        return None
    values = np.unique(np.concatenate(units))
    if len(values) < 2:
        return None
    coincidences = np.zeros((len(values), len(values)))
    for column in units:
        counts = (column[:, None] == values).sum(0).astype(np.float64)
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(column) - 1)
    totals = coincidences.sum(1)
    n = totals.sum()
    reached = np.cumsum(totals) - totals / 2
    distance = (reached[:, None] - reached[None, :]) ** 2
    expected = (np.outer(totals, totals) * distance).sum() / (n - 1)
    return float(1 - (coincidences * distance).sum() / expected) if expected > 0 else None


def icc_of_mean(ratings: ArrayLike) -> float | None:
    """ICC(A,k): absolute agreement of the mean of these raters, over units that all have rated.

    ratings (raters x units), NaN = not rated. None with fewer than two raters or three units, or
    without any variance. Source: McGraw and Wong, Psychological Methods 1 (1996), case 2A.
    """
    matrix = np.asarray(ratings, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] < 2:
        return None
    full = matrix[:, ~np.isnan(matrix).any(0)].T
    n, k = full.shape
    if n < 3:
        return None
    grand = full.mean()
    between = k * ((full.mean(1) - grand) ** 2).sum() / (n - 1)
    raters = n * ((full.mean(0) - grand) ** 2).sum() / (k - 1)
    total = ((full - grand) ** 2).sum()
    error = (total - between * (n - 1) - raters * (k - 1)) / ((n - 1) * (k - 1))
    below = between + (raters - error) / n
    return float((between - error) / below) if abs(below) > 1e-12 else None
