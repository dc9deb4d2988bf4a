"The days of the archive that the tests share, and what is the same result."

import numpy as np

DATES = ("1998-01-20", "1998-06-14", "1998-06-15")
SWEEPS = 30


def same_arrays(one: dict, other: dict):
    "Asserts that two groups of arrays are equal to the last bit, NaN included."
    assert list(one) == list(other)
    for name, values in one.items():
        assert values.dtype == other[name].dtype, name
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def same_results(one, other):
    "Asserts that two `PotentialResults` hold the same numbers."
    same_arrays(one.rows, other.rows)
    same_arrays(one.spec, other.spec)
    assert one.rejected.to_dict("list") == other.rejected.to_dict("list")
