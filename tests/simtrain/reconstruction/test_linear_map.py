import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from simtrain.reconstruction.linear_map import PENALTIES, fit_linear_map


def planted(rng, rows, weights, noise):
    x = rng.standard_normal((rows, len(weights))) + 3
    return x.astype("f4"), (x @ weights + noise * rng.standard_normal((rows, weights.shape[1])) - 7).astype(
        "f4"
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0.1, 3, 30]))
def test_it_is_sklearns_ridge_with_the_penalty_that_serves_the_held_out_rows(seed, noise):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((8, 5))
    (x, y), (x_new, y_new) = planted(rng, 60, weights, noise), planted(rng, 40, weights, noise)
    found = fit_linear_map(x, y, x_new, y_new)
    unit = np.square(x - x.mean(axis=0, dtype=float)).sum() / 8
    fits = [Ridge(alpha=penalty * unit).fit(x.astype(float), y) for penalty in PENALTIES]
    errors = [np.square(fit.predict(x_new) - y_new).sum() for fit in fits]
    best = fits[int(np.argmin(errors))]
    assert found.penalty == PENALTIES[int(np.argmin(errors))]
    np.testing.assert_allclose(found.predict(x_new), best.predict(x_new), rtol=1e-4, atol=1e-4)
    expected = r2_score(y_new, best.predict(x_new), multioutput="variance_weighted")
    assert found.r2 == pytest.approx(expected, abs=1e-4)
