"""Ridge regression of one target by scikit-learn, penalty by penalty and fold by fold."""

import numpy as np
from sklearn.linear_model import Ridge

from simtrain.baselines.penalties import PENALTIES


def plain_ridge(x, fold, new, y):
    """What is predicted of new rows, the penalty in units of the mean eigenvalue of X'X, and its error."""
    unit = np.square(x - x.mean(axis=0)).sum() / x.shape[1]
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for one in np.unique(fold):
            held_out = fold == one
            model = Ridge(penalty * unit).fit(x[~held_out], y[~held_out])
            error += np.square(model.predict(x[held_out]) - y[held_out]).sum()
        errors.append(error)
    best = PENALTIES[int(np.argmin(errors))]
    return Ridge(best * unit).fit(x, y).predict(new), best, min(errors)
