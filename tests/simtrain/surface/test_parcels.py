"""Means of maps over parcels."""

import numpy as np

from simtrain.surface.parcels import Parcels, means


def test_a_map_counts_where_it_has_a_value_and_is_nan_where_it_has_none():
    parcels = {"L": Parcels(np.array([1, 1, 2, 2, 3, 0]), {1: "V1", 2: "A1", 3: "wall"})}
    maps = np.array([[1.0, 3, 5, 7, np.nan, 9], [2, np.nan, np.nan, np.nan, np.nan, 9]])
    found = means({"L": maps}, parcels)
    assert list(found) == ["L V1", "L A1"]
    np.testing.assert_array_equal(found["L V1"], [2, 2])
    np.testing.assert_array_equal(found["L A1"], [6, np.nan])
