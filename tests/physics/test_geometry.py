"Geometry: closed forms, symmetries, and rows with missing data."

import multiprocessing
import threading
from dataclasses import fields

import matplotlib.pyplot as plt
import numpy as np
import pytest
import spiceypy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from known_orbit import orbit_kernels, spin_axis_table

from lunar_potential.physics.attitude import lat_lon
from lunar_potential.physics.ephemeris import unix_seconds
from lunar_potential.physics.geometry import (
    Geometry,
    compute_geometry,
    footpoint_polarity,
    local_time,
    plot_footpoints,
    ray_sphere,
    sun_fraction,
)
from lunar_potential.physics.pool import furnish
from lunar_potential.synthetic.kernels import (
    moon_position,
    state_function,
    sun_position,
    utc_to_et,
    write_kernels,
    write_spk,
)
from lunar_potential.units import R_MOON_KM, Flag

anytime = settings(deadline=None)  # a busy machine is no failure
number = st.floats(-10, 10, allow_nan=False)
vector = st.tuples(number, number, number).filter(lambda v: np.linalg.norm(v) > 1e-2)


def a_rotation(seed):
    "A random rotation matrix."
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def _latitudes(rows_and_attitude):
    return compute_geometry(*rows_and_attitude).lat


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return orbit_kernels(tmp_path_factory)


@pytest.fixture
def furnished(kernels):
    return furnish(kernels)


@pytest.fixture(scope="module")
def attitude(tmp_path_factory):
    return spin_axis_table(tmp_path_factory)


@pytest.fixture
def rows():
    utc = np.datetime64("1998-12-31T12:00:04") + 80 * np.arange(600).astype(
        "timedelta64[s]"
    )
    return utc, np.random.default_rng(3).normal(0, 5, (600, 3))


# --- rays and polarity


@pytest.mark.parametrize(
    "origin, direction, expected",
    [
        ((2, 0, 0), (-1, 0, 0), (1, 0, 0)),
        ((2, 0, 0), (1, 0, 0), None),
        ((1, 0, 0), (1, 0, 0), None),
        ((0, 0, 0), (1, 0, 0), (1, 0, 0)),
        ((0.5, 0, 0), (-1, 0, 0), (-1, 0, 0)),
        ((2, 1, 0), (-5, 0, 0), None),  # tangent
        ((2, 0, 0), (0, 1, 0), None),
        ((2, 0, 0), (0, 0, 0), None),
        ((2, 0, 0), (np.nan, 0, 0), None),
    ],
)
def test_ray_sphere(origin, direction, expected):
    hit, point = ray_sphere(origin, direction, 1.0)
    assert hit == (expected is not None)
    assert (
        np.isnan(point).all()
        if expected is None
        else np.allclose(point, expected, atol=1e-15)
    )


@pytest.mark.parametrize(
    "place, field, polarity",
    [
        ((2, 0, 0), (1, 0, 0), -1),
        ((2, 0, 0), (-1, 0, 0), 1),
        ((2, 0, 0), (0, 1, 0), 0),
        ((2, 0, 0), (-np.sqrt(3), 1, 0), 0),  # tangent
        ((0.5, 0, 0), (1, 0, 0), 0),
        ((1, 0, 0), (-1, 0, 0), 0),
        ((2, 0, 0), (0, 0, 0), 0),
    ],
)
def test_polarity(place, field, polarity):
    found, foot = footpoint_polarity(place, field, radius=1.0)
    assert found == polarity and found.dtype == np.int8
    assert np.allclose(foot, (1, 0, 0)) if polarity else np.isnan(foot).all()


@anytime
@given(vector, vector)
def test_polarity_flips_with_the_field(place, field):
    plus, foot = footpoint_polarity(place, field, radius=1.0)
    minus, same = footpoint_polarity(place, np.negative(field), radius=1.0)
    assert plus == -minus and np.array_equal(foot, same, equal_nan=True)


@anytime
@given(vector, vector)
def test_the_footpoint_is_on_the_sphere_on_the_line_and_faces_the_spacecraft(
    place, field
):
    place, field = np.array(place), np.array(field) / np.linalg.norm(field)
    polarity, foot = footpoint_polarity(place, field, radius=1.0)
    if polarity:
        assert np.isclose(np.linalg.norm(foot), 1)
        assert np.allclose(np.cross(foot - place, field), 0, atol=1e-7)
        assert polarity * (foot - place) @ field > 0 and foot @ (place - foot) >= -1e-6


@anytime
@given(vector, vector, st.integers(0, 1000))
def test_turning_everything_turns_the_footpoint(place, field, seed):
    turn = a_rotation(seed)
    distance, across = (
        np.linalg.norm(place),
        np.linalg.norm(np.cross(place, field)) / np.linalg.norm(field),
    )
    if (
        abs(across - 1) < 1e-6
        or abs(distance - 1) < 1e-6
        or abs(np.dot(place, field)) < 1e-6
    ):
        return  # a hair from touching, rounding decides
    polarity, foot = footpoint_polarity(place, field, radius=1.0)
    turned, turned_foot = footpoint_polarity(turn @ place, turn @ field, radius=1.0)
    assert polarity == turned
    assert np.allclose(turn @ foot, turned_foot, atol=1e-6, equal_nan=True)


def test_polarity_of_a_batch_is_that_of_its_rows():
    random = np.random.default_rng(0)
    place, field = random.normal(size=(2, 500, 3)) * [[[1.5]], [[1.0]]]
    polarity, foot = footpoint_polarity(place, field, radius=1.0)
    for i in range(500):
        one, point = footpoint_polarity(place[i], field[i], radius=1.0)
        assert one == polarity[i] and np.array_equal(point, foot[i], equal_nan=True)
    assert set(polarity) == {-1, 0, 1}


# --- kernels and time


def test_a_kernel_written_anew_is_loaded_anew(tmp_path, rows, attitude):
    utc, b = rows
    first = compute_geometry(
        utc[:1],
        b[:1],
        attitude,
        write_kernels(tmp_path, "1998-12-30", "1999-01-03", altitude=100.0),
    )
    second = compute_geometry(
        utc[:1],
        b[:1],
        attitude,
        write_kernels(tmp_path, "1998-12-30", "1999-01-03", altitude=30.0),
    )
    assert np.isclose(first.alt, 100) and np.isclose(second.alt, 30)


def test_a_pool_that_someone_cleared_is_loaded_again(furnished, rows, attitude):
    before = compute_geometry(*rows, attitude, furnished)
    sp.kclear()
    assert np.array_equal(compute_geometry(*rows, attitude, furnished).lat, before.lat)


# --- sunlight


def test_sun_fraction_falls_from_one_to_zero_across_the_limb():
    sun = np.array([1.496e8, 0, 0])
    edge = np.pi / 2 + np.arccos(R_MOON_KM / (R_MOON_KM + 100))
    angle = edge + np.radians(np.linspace(-0.6, 0.6, 241))
    place = (R_MOON_KM + 100) * np.stack(
        [np.cos(angle), np.sin(angle), 0 * angle], axis=1
    )
    lit = sun_fraction(place, sun)
    assert lit[0] == 1 and lit[-1] == 0 and np.all(np.diff(lit) <= 0)
    partly = np.degrees(angle[(lit > 0) & (lit < 1)])
    assert np.isclose(np.ptp(partly), 2 * np.degrees(695700 / 1.496e8), atol=0.02)
    assert np.isnan(sun_fraction([1000.0, 0, 0], sun)) and np.isnan(
        sun_fraction([0.0, 0, 0], sun)
    )


@settings(anytime, max_examples=30)
@given(st.floats(-1.2, 1.2), st.floats(20, 400))
def test_sun_fraction_is_the_area_of_the_disc_above_the_limb(height, altitude):
    "Monte Carlo over the disc, with the round limb of the Moon."
    sun, sun_radius = np.array([1.496e8, 0, 0]), 695700.0
    disc = np.arcsin(sun_radius / 1.496e8)
    angle = np.pi / 2 + np.arccos(R_MOON_KM / (R_MOON_KM + altitude)) - height * disc
    place = (R_MOON_KM + altitude) * np.array([np.cos(angle), np.sin(angle), 0])
    random = np.random.default_rng(0)
    radius, turn = (
        sun_radius * np.sqrt(random.random(4000)),
        2 * np.pi * random.random(4000),
    )
    points = sun + np.stack(
        [0 * radius, radius * np.cos(turn), radius * np.sin(turn)], axis=1
    )
    blocked, _ = ray_sphere(np.broadcast_to(place, points.shape), points - place)
    assert abs(sun_fraction(place, sun) - (1 - blocked.mean())) < 0.04


@anytime
@given(st.floats(-180, 180), st.floats(-180, 180))
def test_local_time_is_in_a_day(longitude, subsolar):
    hour = float(local_time(longitude, subsolar))
    assert 0 <= hour < 24 + 1e-9
    assert abs((local_time(longitude + 15, subsolar) - hour - 1 + 12) % 24 - 12) < 1e-9


# --- rows


def test_a_batch_equals_its_rows(furnished, rows, attitude):
    utc, b = rows
    batch = compute_geometry(utc, b, attitude, furnished)
    for i in (0, 7, 300, 599):
        alone = compute_geometry(utc[i : i + 1], b[i : i + 1], attitude, furnished)
        for field in fields(Geometry):
            assert np.array_equal(
                getattr(alone, field.name),
                getattr(batch, field.name)[i : i + 1],
                equal_nan=True,
            ), field.name


def test_repeated_and_shuffled_times(furnished, rows, attitude):
    utc, b = rows
    order = np.random.default_rng(5).integers(0, len(utc), 2000)
    batch, mixed = (
        compute_geometry(utc, b, attitude, furnished),
        compute_geometry(utc[order], b[order], attitude, furnished),
    )
    assert np.array_equal(mixed.foot_lat, batch.foot_lat[order], equal_nan=True)
    assert np.array_equal(mixed.polarity, batch.polarity[order])


def test_positions_equal_those_of_spice(furnished, rows, attitude):
    utc, b = rows
    result = compute_geometry(utc, b, attitude, furnished)
    for i in range(0, 600, 97):
        xyz, _ = sp.spkpos("-25", sp.str2et(str(utc[i])), "IAU_MOON", "NONE", "301")
        sun, _ = sp.spkpos("10", sp.str2et(str(utc[i])), "IAU_MOON", "NONE", "301")
        assert np.allclose(
            [result.lat[i], result.lon[i]], np.ravel(lat_lon(xyz)), atol=1e-5
        )
        assert np.isclose(result.alt[i], np.linalg.norm(xyz) - R_MOON_KM, atol=1e-6)
        assert np.allclose(
            [result.subsolar_lat[i], result.subsolar_lon[i]],
            np.ravel(lat_lon(sun)),
            atol=1e-5,
        )
        assert np.isclose(np.linalg.norm(result.b_moon[i]), np.linalg.norm(b[i]))


def test_what_is_missing_has_its_reason_and_leaves_the_others_alone(
    furnished, rows, attitude
):
    utc, b = rows
    good = compute_geometry(utc, b, attitude, furnished)
    utc, b = utc.copy(), b.copy()
    utc[0], utc[1], utc[2] = (
        np.datetime64("1999-06-01"),
        np.datetime64("NaT"),
        np.datetime64("1998-12-30T03:00:00"),
    )
    b[3], b[4], b[5] = (np.nan, 1, 1), (0, 0, 0), (2000, 0, 0)
    bad = compute_geometry(utc, b, attitude, furnished)
    assert (
        bad.reason[0] & Flag.NO_KERNEL_COVERAGE
        and bad.reason[1] & Flag.NO_KERNEL_COVERAGE
    )
    assert (
        bad.reason[2] == Flag.NO_ATTITUDE
        and (bad.reason[3:6] == Flag.NO_MAGNETIC_FIELD).all()
    )
    assert (
        (bad.polarity[:6] == 0).all()
        and np.isnan(bad.foot_lat[:6]).all()
        and (bad.foot_sun[:6] == -1).all()
    )
    assert (bad.sc_sun[:2] == -1).all() and np.isnan(bad.lat[:2]).all()
    assert np.isfinite(bad.lat[2:6]).all() and (bad.sc_sun[2:6] >= 0).all()
    for field in fields(Geometry):
        assert np.array_equal(
            getattr(bad, field.name)[6:], getattr(good, field.name)[6:], equal_nan=True
        ), field.name
    assert np.array_equal(good.reason == Flag.NOT_CONNECTED, good.polarity == 0)
    assert "NO_ATTITUDE" in repr(bad)


def test_the_first_and_last_covered_second(furnished, attitude):
    utc = np.array(
        [
            "1998-12-30T00:00:00",
            "1999-01-03T00:00:00",
            "1998-12-29T23:59:59",
            "1999-01-03T00:00:01",
        ],
        "M8[s]",
    )
    result = compute_geometry(utc, np.ones((4, 3)), attitude, furnished)
    assert np.array_equal(np.isfinite(result.lat), [True, True, False, False])


def test_a_hole_in_a_link_of_the_chain_is_found_by_halving(tmp_path, rows, attitude):
    "The Sun is given about the Earth, the Moon about the Earth in the first half only."
    kernels = write_kernels(tmp_path, "1998-12-30", "1999-01-03")
    whole, half = tmp_path / "lpephemu_sun.bsp", tmp_path / "lpephemu_moon.bsp"
    first, middle, last = utc_to_et(["1998-12-30", "1998-12-31T15:00", "1999-01-03"])
    write_spk(whole, [(10, 399, 86400.0, state_function(sun_position))], first, last)
    write_spk(half, [(301, 399, 3600.0, state_function(moon_position))], first, middle)
    kernels = [path for path in kernels if path.name != "lpephemu.bsp"] + [whole, half]
    result = compute_geometry(*rows, attitude, kernels=kernels)
    before = rows[0] <= np.datetime64("1998-12-31T15:00")
    assert (
        np.array_equal(result.sc_sun >= 0, before) and before.any() and not before.all()
    )
    assert np.array_equal(result.reason & Flag.NO_KERNEL_COVERAGE > 0, ~before)


def test_the_map_has_track_and_both_kinds_of_footpoints(furnished, rows, attitude):
    ax = plot_footpoints(compute_geometry(*rows, attitude, furnished))
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["spacecraft", "footpoint in sunlight", "footpoint in shade"]
    plt.close(ax.figure)


def test_no_rows_at_all(furnished, attitude):
    empty = compute_geometry(
        np.array([], "M8[s]"), np.empty((0, 3)), attitude, furnished
    )
    assert len(empty) == 0 and empty.polarity.dtype == np.int8


@pytest.mark.parametrize("shape", [(5, 2), (4, 3), (3,)])
def test_wrong_shapes_are_refused(furnished, rows, attitude, shape):
    with pytest.raises(ValueError, match="shape|must be"):
        compute_geometry(rows[0][:5], np.ones(shape), attitude, furnished)


def test_threads_do_not_disturb_each_other(furnished, rows, attitude):
    expected, results = compute_geometry(*rows, attitude, furnished), []
    threads = [
        threading.Thread(
            target=lambda: results.append(compute_geometry(*rows, attitude, furnished))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(
        np.array_equal(r.b_moon, expected.b_moon) for r in results
    )


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(),
    reason="no fork on this system",
)
@pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)
def test_a_forked_process_loads_its_own_kernels(furnished, rows, attitude):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(_latitudes, [(*rows, attitude, furnished)] * 4)
    assert all(
        np.array_equal(lat, compute_geometry(*rows, attitude, furnished).lat)
        for lat in found
    )


# --- sunlight


def test_latitude_of_the_sun_is_its_distance_from_the_spin_plane(
    furnished, rows, attitude
):
    utc, b = rows
    found = compute_geometry(utc, b, attitude, furnished).sun_latitude
    axis = attitude.axis(unix_seconds(utc))
    for i in range(0, 600, 97):
        sun, _ = sp.spkpos("10", sp.str2et(str(utc[i])), "ECLIPJ2000", "NONE", "-25")
        assert found[i] == pytest.approx(
            90 - np.degrees(np.arccos(axis[i] @ sun / np.linalg.norm(sun))), abs=1e-5
        )
    assert np.abs(found).max() < 5 and np.ptp(found) > 0
