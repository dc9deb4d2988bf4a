"Attitude: the spin-axis table and the spacecraft frame."

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_orbit import TABLE, spin_axis_table

from lunar_potential.data.archive import ArchiveError
from lunar_potential.physics.attitude import Attitude, lat_lon, read_attitude, scd_axes
from lunar_potential.physics.ephemeris import unix_seconds

anytime = settings(deadline=None)  # a busy machine is no failure
number = st.floats(-10, 10, allow_nan=False)
vector = st.tuples(number, number, number).filter(lambda v: np.linalg.norm(v) > 1e-2)


@pytest.fixture(scope="module")
def attitude(tmp_path_factory):
    return spin_axis_table(tmp_path_factory)


# --- the spacecraft's frame


def test_scd_of_aligned_axes_is_the_identity():
    assert np.abs(scd_axes([0, 0, 1], [1, 0, 0]) - np.eye(3)).max() < 1e-15


@anytime
@given(vector, vector)
def test_scd_axes_are_orthonormal(spin, sun):
    axes = scd_axes(spin, sun)
    if np.linalg.norm(np.cross(spin, sun)) > 1e-3 * np.linalg.norm(
        spin
    ) * np.linalg.norm(sun):
        assert np.abs(axes @ axes.T - np.eye(3)).max() < 1e-12
        assert abs(np.linalg.det(axes) - 1) < 1e-12
        assert np.allclose(axes[:, 2], np.array(spin) / np.linalg.norm(spin))
        assert axes[:, 0] @ sun > 0 and abs(axes[:, 1] @ sun) < 1e-9


@pytest.mark.parametrize(
    "spin, sun",
    [
        ((0, 0, 0), (1, 0, 0)),
        ((0, 0, 1), (0, 0, 0)),
        ((0, 0, 1), (0, 0, -3)),
        ((0, np.nan, 1), (1, 0, 0)),
    ],
)
def test_scd_of_zero_or_parallel_axes_is_nan(spin, sun):
    assert np.isnan(scd_axes(spin, sun)).all()


@pytest.mark.parametrize(
    "spin, sun",
    [((1, 0), (0, 1)), (1.0, (0, 0, 1)), (np.ones((3, 4)), np.ones((3, 3)))],
)
def test_scd_refuses_wrong_shapes(spin, sun):
    with pytest.raises(ValueError, match="shape"):
        scd_axes(spin, sun)


# --- attitude


def test_attitude_is_a_step_table(attitude):
    times = [
        "1998-12-30T05:59:59",
        "1998-12-30T06:00:00",
        "1998-12-31T23:59:59",
        "1999-01-01T00:00:00",
        "2005-01-01",
        "NaT",
    ]
    ra, dec = attitude.lookup(unix_seconds(np.array(times, "M8[s]")))
    assert np.array_equal(
        ra, [np.nan, 118.37, 118.37, 119.12, 119.12, np.nan], equal_nan=True
    )
    assert np.array_equal(
        dec, [np.nan, 87.53, 87.53, 87.85, 87.85, np.nan], equal_nan=True
    )
    axis = attitude.axis(unix_seconds(np.array(times, "M8[s]")))
    assert np.array_equal(np.isnan(axis[:, 0]), np.isnan(ra)) and np.allclose(
        np.linalg.norm(axis[1:5], axis=1), 1
    )
    assert np.isclose(np.degrees(np.arcsin(axis[1, 2])), 87.53)


def test_linear_attitude_passes_through_the_records_and_crosses_north():
    table = Attitude(
        np.array([0.0, 100.0, 200.0]),
        np.array([350.0, 10.0, 20.0]),
        np.array([5.0, 5.0, 5.0]),
        np.full(3, 12.0),
        "linear",
    )
    lat, lon = lat_lon(table.axis(np.array([-1.0, 0, 50, 100, 200, 1e9])))
    assert np.allclose(lon[1:], [-10, 0, 10, 20, 20], atol=1e-9) and np.isnan(lon[0])
    assert np.allclose(lat[[1, 3, 4, 5]], 5)
    with pytest.raises(ValueError, match="'drift', 'step' or 'linear'"):
        Attitude(table.start, table.ra, table.dec, table.spin_rate, "spline")


def test_attitude_records_are_sorted(tmp_path):
    path = tmp_path / "attitude.tab"
    path.write_text("\n".join(reversed(TABLE.splitlines())) + "\n\n")
    assert np.all(np.diff(read_attitude(path).start) > 0)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no attitude record"),
        ("1998-12-30T06:00, 12.007, 118.37\n", "line 1"),
        (TABLE + "nonsense\n", "line 3"),
        (TABLE + "1999-01-05T00:00, 12.0, 118.0, 187.0\n", "line 3.*not a direction"),
        (TABLE + "1999-01-05T00:00, 12.0, nan, 87.0\n", "line 3.*not a direction"),
    ],
)
def test_a_wrong_attitude_table_is_named(tmp_path, text, message):
    path = tmp_path / "attitude.tab"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_attitude(path)
    assert "attitude.tab" in str(error.value)


def test_a_missing_attitude_table_is_an_archive_error(tmp_path):
    with pytest.raises(ArchiveError, match="attitude.tab"):
        read_attitude(tmp_path / "attitude.tab")
