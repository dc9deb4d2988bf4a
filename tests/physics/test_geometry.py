"Geometry: closed forms, symmetries, and rows that something is missing for."

import multiprocessing
import threading

import numpy as np
import pytest
import spiceypy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.data.archive import ArchiveError
from lunar_potential.physics import geometry as geo
from lunar_potential.synthetic.kernels import (
    _sampled,
    _write_spk,
    moon_position,
    sun_position,
    utc_to_et,
    write_kernels,
)
from lunar_potential.synthetic.simulate import (
    Truth,
    cell_azimuths,
    energy_table,
    expected_flux,
)
from lunar_potential.units import R_MOON_KM, Flag, cells_in_ring

RINGS = [78.75, 56.25, 33.75, 11.25, -11.25, -33.75, -56.25, -78.75]
THETA = np.concatenate([np.full(cells_in_ring(ring), ring) for ring in RINGS])
PHI = np.concatenate([np.arange(n) * 360.0 / n for n in map(cells_in_ring, RINGS)])
TABLE = "1998-12-30T06:00, 12.007, 118.37,  87.53\r\n1999-01-01T00:00, 12.017, 119.12,  87.85\r\n"
anytime = settings(deadline=None)  # a busy machine is no failure

number = st.floats(-10, 10, allow_nan=False)
vector = st.tuples(number, number, number).filter(lambda v: np.linalg.norm(v) > 1e-2)


def a_rotation(seed):
    "A random rotation matrix."
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return write_kernels(tmp_path_factory.mktemp("kernels"), "1998-12-30", "1999-01-03")


@pytest.fixture
def furnished(kernels):
    return geo.furnish(kernels)


@pytest.fixture(scope="module")
def attitude(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "attitude.tab"
    path.write_text(TABLE)
    return geo.read_attitude(path)


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
    hit, point = geo.ray_sphere(origin, direction, 1.0)
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
    found, foot = geo.footpoint_polarity(place, field, radius=1.0)
    assert found == polarity and found.dtype == np.int8
    assert np.allclose(foot, (1, 0, 0)) if polarity else np.isnan(foot).all()


@anytime
@given(vector, vector)
def test_polarity_flips_with_the_field(place, field):
    plus, foot = geo.footpoint_polarity(place, field, radius=1.0)
    minus, same = geo.footpoint_polarity(place, np.negative(field), radius=1.0)
    assert plus == -minus and np.array_equal(foot, same, equal_nan=True)


@anytime
@given(vector, vector)
def test_the_footpoint_is_on_the_sphere_on_the_line_and_faces_the_spacecraft(
    place, field
):
    place, field = np.array(place), np.array(field) / np.linalg.norm(field)
    polarity, foot = geo.footpoint_polarity(place, field, radius=1.0)
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
    polarity, foot = geo.footpoint_polarity(place, field, radius=1.0)
    turned, turned_foot = geo.footpoint_polarity(turn @ place, turn @ field, radius=1.0)
    assert polarity == turned
    assert np.allclose(turn @ foot, turned_foot, atol=1e-6, equal_nan=True)


def test_polarity_of_a_batch_is_that_of_its_rows():
    random = np.random.default_rng(0)
    place, field = random.normal(size=(2, 500, 3)) * [[[1.5]], [[1.0]]]
    polarity, foot = geo.footpoint_polarity(place, field, radius=1.0)
    for i in range(500):
        one, point = geo.footpoint_polarity(place[i], field[i], radius=1.0)
        assert one == polarity[i] and np.array_equal(point, foot[i], equal_nan=True)
    assert set(polarity) == {-1, 0, 1}


# --- the spacecraft's frame


def test_scd_of_aligned_axes_is_the_identity():
    assert np.abs(geo.scd_axes([0, 0, 1], [1, 0, 0]) - np.eye(3)).max() < 1e-15


@anytime
@given(vector, vector)
def test_scd_axes_are_orthonormal(spin, sun):
    axes = geo.scd_axes(spin, sun)
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
    assert np.isnan(geo.scd_axes(spin, sun)).all()


@pytest.mark.parametrize(
    "spin, sun",
    [((1, 0), (0, 1)), (1.0, (0, 0, 1)), (np.ones((3, 4)), np.ones((3, 3)))],
)
def test_scd_refuses_wrong_shapes(spin, sun):
    with pytest.raises(ValueError, match="shape"):
        geo.scd_axes(spin, sun)


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
    ra, dec = attitude.lookup(geo.unix_seconds(np.array(times, "M8[s]")))
    assert np.array_equal(
        ra, [np.nan, 118.37, 118.37, 119.12, 119.12, np.nan], equal_nan=True
    )
    assert np.array_equal(
        dec, [np.nan, 87.53, 87.53, 87.85, 87.85, np.nan], equal_nan=True
    )
    axis = attitude.axis(geo.unix_seconds(np.array(times, "M8[s]")))
    assert np.array_equal(np.isnan(axis[:, 0]), np.isnan(ra)) and np.allclose(
        np.linalg.norm(axis[1:5], axis=1), 1
    )
    assert np.isclose(np.degrees(np.arcsin(axis[1, 2])), 87.53)


def test_linear_attitude_passes_through_the_records_and_crosses_north():
    table = geo.Attitude(
        np.array([0.0, 100.0, 200.0]),
        np.array([350.0, 10.0, 20.0]),
        np.array([5.0, 5.0, 5.0]),
        np.full(3, 12.0),
        "linear",
    )
    lat, lon = geo.lat_lon(table.axis(np.array([-1.0, 0, 50, 100, 200, 1e9])))
    assert np.allclose(lon[1:], [-10, 0, 10, 20, 20], atol=1e-9) and np.isnan(lon[0])
    assert np.allclose(lat[[1, 3, 4, 5]], 5)
    with pytest.raises(ValueError, match="'drift', 'step' or 'linear'"):
        geo.Attitude(table.start, table.ra, table.dec, table.spin_rate, "spline")


def test_attitude_records_are_sorted(tmp_path):
    path = tmp_path / "attitude.tab"
    path.write_text("\n".join(reversed(TABLE.splitlines())) + "\n\n")
    assert np.all(np.diff(geo.read_attitude(path).start) > 0)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no attitude record"),
        ("1998-12-30T06:00, 12.007, 118.37\n", "line 1"),
        (TABLE + "nonsense\n", "line 3"),
        (TABLE + "1999-01-05T00:00, 12.0, 118.0, 187.0\n", "line 3.*no direction"),
        (TABLE + "1999-01-05T00:00, 12.0, nan, 87.0\n", "line 3.*no direction"),
    ],
)
def test_a_wrong_attitude_table_is_named(tmp_path, text, message):
    path = tmp_path / "attitude.tab"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        geo.read_attitude(path)
    assert "attitude.tab" in str(error.value)


def test_a_missing_attitude_table_is_an_archive_error(tmp_path):
    with pytest.raises(ArchiveError, match="attitude.tab"):
        geo.read_attitude(tmp_path / "attitude.tab")


# --- kernels and time


def test_furnish_sorts_by_name_and_hashes(kernels):
    hashes = geo.furnish(reversed(kernels))
    assert list(hashes) == sorted(path.name for path in kernels)
    assert all(len(digest) == 64 for digest in hashes.values())
    assert [sp.kdata(i, "ALL")[0] for i in range(sp.ktotal("ALL"))] == [
        str(path) for path in kernels
    ]


def test_furnish_loads_once(kernels, furnished, monkeypatch):
    def refuse(paths):
        raise AssertionError("loaded again")

    monkeypatch.setattr(geo, "_load", refuse)
    assert geo.furnish(kernels) == furnished


@pytest.mark.parametrize(
    "name, message",
    [
        ("tls", "leap-second"),
        ("tpc", "orientation of the Moon"),
        ("lp_ask", "Lunar Prospector orbit"),
        ("lpephemu", "Sun"),
    ],
)
def test_each_missing_kind_is_named(kernels, name, message):
    with pytest.raises(ArchiveError, match=message):
        geo.furnish([path for path in kernels if name not in path.name])
    geo.furnish(kernels)


def test_kernels_that_do_not_exist_or_cannot_be_read(kernels, tmp_path):
    with pytest.raises(ArchiveError, match="nowhere.bsp"):
        geo.furnish([*kernels, tmp_path / "nowhere.bsp"])
    (tmp_path / "torn.bsp").write_bytes(kernels[1].read_bytes()[:600])
    with pytest.raises(ArchiveError, match="torn.bsp"):
        geo.furnish([*kernels, tmp_path / "torn.bsp"])
    with pytest.raises(ArchiveError, match="leap-second.*Sun"):
        geo.furnish([])
    with pytest.raises(ArchiveError, match="furnish"):
        geo.unix_to_et(0.0)
    geo.furnish(kernels)


def test_a_kernel_written_anew_is_loaded_anew(tmp_path, rows, attitude):
    utc, b = rows
    first = geo.compute_geometry(
        utc[:1],
        b[:1],
        attitude,
        write_kernels(tmp_path, "1998-12-30", "1999-01-03", altitude=100.0),
    )
    second = geo.compute_geometry(
        utc[:1],
        b[:1],
        attitude,
        write_kernels(tmp_path, "1998-12-30", "1999-01-03", altitude=30.0),
    )
    assert np.isclose(first.alt, 100) and np.isclose(second.alt, 30)


def test_a_pool_that_someone_cleared_is_loaded_again(furnished, rows, attitude):
    before = geo.compute_geometry(*rows, attitude)
    sp.kclear()
    assert np.array_equal(geo.compute_geometry(*rows, attitude).lat, before.lat)


def test_leap_second_at_the_end_of_1998(furnished):
    utc = np.array(
        [
            "1998-12-31T23:59:58",
            "1998-12-31T23:59:59",
            "1999-01-01T00:00:00",
            "1999-01-01T00:00:01",
        ]
    )
    et = geo.unix_to_et(geo.unix_seconds(utc.astype("M8[s]")))
    assert np.allclose(np.diff(et), [1, 2, 1], atol=1e-6)
    assert np.allclose(et, [sp.str2et(t) for t in utc], atol=1e-6, rtol=0)


def test_fractions_of_a_second_survive(furnished):
    assert np.isclose(
        geo.unix_seconds(np.array(["1998-12-31T00:00:00.250"], "M8[ms]"))[0] % 1, 0.25
    )


# --- sunlight


def test_sun_fraction_falls_from_one_to_zero_across_the_limb():
    sun = np.array([1.496e8, 0, 0])
    edge = np.pi / 2 + np.arccos(R_MOON_KM / (R_MOON_KM + 100))
    angle = edge + np.radians(np.linspace(-0.6, 0.6, 241))
    place = (R_MOON_KM + 100) * np.stack(
        [np.cos(angle), np.sin(angle), 0 * angle], axis=1
    )
    lit = geo.sun_fraction(place, sun)
    assert lit[0] == 1 and lit[-1] == 0 and np.all(np.diff(lit) <= 0)
    partly = np.degrees(angle[(lit > 0) & (lit < 1)])
    assert np.isclose(np.ptp(partly), 2 * np.degrees(695700 / 1.496e8), atol=0.02)
    assert np.isnan(geo.sun_fraction([1000.0, 0, 0], sun)) and np.isnan(
        geo.sun_fraction([0.0, 0, 0], sun)
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
    blocked, _ = geo.ray_sphere(np.broadcast_to(place, points.shape), points - place)
    assert abs(geo.sun_fraction(place, sun) - (1 - blocked.mean())) < 0.04


@anytime
@given(st.floats(-180, 180), st.floats(-180, 180))
def test_local_time_is_in_a_day(longitude, subsolar):
    hour = float(geo.local_time(longitude, subsolar))
    assert 0 <= hour < 24 + 1e-9
    assert (
        abs((geo.local_time(longitude + 15, subsolar) - hour - 1 + 12) % 24 - 12) < 1e-9
    )


# --- rows


def test_a_batch_equals_its_rows(furnished, rows, attitude):
    utc, b = rows
    batch = geo.compute_geometry(utc, b, attitude)
    for i in (0, 7, 300, 599):
        alone = geo.compute_geometry(utc[i : i + 1], b[i : i + 1], attitude)
        for field in geo.fields(geo.Geometry):
            assert np.array_equal(
                getattr(alone, field.name),
                getattr(batch, field.name)[i : i + 1],
                equal_nan=True,
            ), field.name


def test_repeated_and_shuffled_times(furnished, rows, attitude):
    utc, b = rows
    order = np.random.default_rng(5).integers(0, len(utc), 2000)
    batch, mixed = (
        geo.compute_geometry(utc, b, attitude),
        geo.compute_geometry(utc[order], b[order], attitude),
    )
    assert np.array_equal(mixed.foot_lat, batch.foot_lat[order], equal_nan=True)
    assert np.array_equal(mixed.polarity, batch.polarity[order])


def test_positions_equal_those_of_spice(furnished, rows, attitude):
    utc, b = rows
    result = geo.compute_geometry(utc, b, attitude)
    for i in range(0, 600, 97):
        xyz, _ = sp.spkpos("-25", sp.str2et(str(utc[i])), "IAU_MOON", "NONE", "301")
        sun, _ = sp.spkpos("10", sp.str2et(str(utc[i])), "IAU_MOON", "NONE", "301")
        assert np.allclose(
            [result.lat[i], result.lon[i]], np.ravel(geo.lat_lon(xyz)), atol=1e-5
        )
        assert np.isclose(result.alt[i], np.linalg.norm(xyz) - R_MOON_KM, atol=1e-6)
        assert np.allclose(
            [result.subsolar_lat[i], result.subsolar_lon[i]],
            np.ravel(geo.lat_lon(sun)),
            atol=1e-5,
        )
        assert np.isclose(np.linalg.norm(result.b_moon[i]), np.linalg.norm(b[i]))


def test_what_is_missing_has_its_reason_and_leaves_the_others_alone(
    furnished, rows, attitude
):
    utc, b = rows
    good = geo.compute_geometry(utc, b, attitude)
    utc, b = utc.copy(), b.copy()
    utc[0], utc[1], utc[2] = (
        np.datetime64("1999-06-01"),
        np.datetime64("NaT"),
        np.datetime64("1998-12-30T03:00:00"),
    )
    b[3], b[4], b[5] = (np.nan, 1, 1), (0, 0, 0), (2000, 0, 0)
    bad = geo.compute_geometry(utc, b, attitude)
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
    for field in geo.fields(geo.Geometry):
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
    result = geo.compute_geometry(utc, np.ones((4, 3)), attitude)
    assert np.array_equal(np.isfinite(result.lat), [True, True, False, False])


def test_a_hole_in_a_link_of_the_chain_is_found_by_halving(tmp_path, rows, attitude):
    "The Sun is given about the Earth; without the Moon about the Earth in the second half, SPICE cannot join them."
    kernels = write_kernels(tmp_path, "1998-12-30", "1999-01-03")
    whole, half = tmp_path / "lpephemu_sun.bsp", tmp_path / "lpephemu_moon.bsp"
    first, middle, last = utc_to_et(["1998-12-30", "1998-12-31T15:00", "1999-01-03"])
    _write_spk(whole, [(10, 399, 86400.0, _sampled(sun_position))], first, last)
    _write_spk(half, [(301, 399, 3600.0, _sampled(moon_position))], first, middle)
    kernels = [path for path in kernels if path.name != "lpephemu.bsp"] + [whole, half]
    result = geo.compute_geometry(*rows, attitude, kernels=kernels)
    before = rows[0] <= np.datetime64("1998-12-31T15:00")
    assert (
        np.array_equal(result.sc_sun >= 0, before) and before.any() and not before.all()
    )
    assert np.array_equal(result.reason & Flag.NO_KERNEL_COVERAGE > 0, ~before)


def test_no_rows_at_all(furnished, attitude):
    empty = geo.compute_geometry(np.array([], "M8[s]"), np.empty((0, 3)), attitude)
    assert len(empty) == 0 and empty.polarity.dtype == np.int8


@pytest.mark.parametrize("shape", [(5, 2), (4, 3), (3,)])
def test_wrong_shapes_are_refused(furnished, rows, attitude, shape):
    with pytest.raises(ValueError, match="shape|must be"):
        geo.compute_geometry(rows[0][:5], np.ones(shape), attitude)


def test_threads_do_not_disturb_each_other(furnished, rows, attitude):
    expected, results = geo.compute_geometry(*rows, attitude), []
    threads = [
        threading.Thread(
            target=lambda: results.append(geo.compute_geometry(*rows, attitude))
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


def _latitudes(rows_and_attitude):
    return geo.compute_geometry(*rows_and_attitude).lat


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(),
    reason="no fork on this system",
)
@pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)
def test_a_forked_process_loads_its_own_kernels(furnished, rows, attitude):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(_latitudes, [(*rows, attitude)] * 4)
    assert all(
        np.array_equal(lat, geo.compute_geometry(*rows, attitude).lat) for lat in found
    )


# --- pitch angle


def test_pitch_is_the_scalar_product_with_the_moonward_field():
    random = np.random.default_rng(1)
    phi, b, polarity = (
        random.uniform(-360, 720, (40, 15, 88)),
        random.normal(size=(40, 3)),
        random.choice([-1, 1], 40),
    )
    mu = geo.cell_pitch(phi, THETA, b, polarity)
    moonward = polarity[:, None] * b / np.linalg.norm(b, axis=1, keepdims=True)
    assert np.allclose(
        mu, np.einsum("srcj,sj->src", geo.unit_vector(phi, THETA), moonward), atol=1e-12
    )
    by_row = geo.cell_pitch(
        phi.reshape(-1, 88), THETA, np.repeat(b, 15, axis=0), np.repeat(polarity, 15)
    )
    assert np.array_equal(by_row.reshape(mu.shape), mu)
    assert np.array_equal(geo.cell_pitch(phi[3, 2], THETA, b[3], polarity[3]), mu[3, 2])


@anytime
@given(vector, st.sampled_from([-1, 1]))
def test_pitch_stays_in_bounds_and_turns_with_direction_field_and_polarity(b, polarity):
    mu = geo.cell_pitch(PHI, THETA, b, polarity)
    assert np.abs(mu).max() <= 1
    for other in (
        geo.cell_pitch(PHI, THETA, b, polarity, direction="look"),
        geo.cell_pitch(PHI, THETA, np.negative(b), polarity),
        geo.cell_pitch(PHI, THETA, b, -polarity),
    ):
        assert np.allclose(other, -mu, atol=1e-12)


def test_pitch_along_the_axes():
    mu = geo.cell_pitch(
        [0.0, 90.0, 180.0, 0.0], [0.0, 0.0, 0.0, 90.0], [-3.0, 0, 0], -1
    )
    assert np.allclose(mu, [1, 0, -1, 0], atol=1e-15)


def test_pitch_is_nan_where_masked_or_not_connected():
    phi = np.tile(PHI, (3, 1))
    phi[0, 5] = np.nan
    mu = geo.cell_pitch(phi, THETA, [[0, 0, 1], [0, 0, 1], [0, 0, 0]], [1, 0, 1])
    assert (
        np.array_equal(np.isnan(mu[0]), np.arange(88) == 5) and np.isnan(mu[1:]).all()
    )


def test_pitch_refuses_wrong_shapes_and_directions():
    with pytest.raises(ValueError, match="do not fit"):
        geo.cell_pitch(np.ones((4, 88)), THETA, np.ones((3, 3)), np.ones(3))
    with pytest.raises(ValueError, match="do not fit"):
        geo.cell_pitch(np.ones((4, 87)), THETA, np.ones((4, 3)), np.ones(4))
    with pytest.raises(ValueError, match="not 'up'"):
        geo.cell_pitch(
            np.ones((4, 88)), THETA, np.ones((4, 3)), np.ones(4), direction="up"
        )


# --- sunlight


def angle_to_sun(phi, latitude, turn):
    "Degrees between each cell's centre and the Sun, which stands at azimuth `turn`."
    sun = geo.unit_vector(np.array([turn]), np.array([latitude]))[0]
    return np.degrees(np.arccos(np.clip(geo.unit_vector(phi, THETA) @ sun, -1, 1)))


@pytest.mark.parametrize("latitude", [0.0, 10.0, -25.0])
@pytest.mark.parametrize(
    "direction, turn, sign", [("travel", 180.0, -1), ("look", 0.0, 1)]
)
def test_cells_that_look_at_the_sun(latitude, direction, turn, sign):
    phi = (PHI + np.random.default_rng(2).uniform(0, 360, (20, 15, 1))) % 360
    found = geo.sun_cells(phi, THETA, np.full(20, latitude), np.ones(20), direction)
    away = angle_to_sun(phi, sign * latitude, turn)
    assert found.shape == phi.shape and found.any(axis=2).all() and found.mean() < 0.06
    assert found[away < 13].all() and not found[away > 32].any()
    nearest = np.argmin(away, axis=2)
    assert np.take_along_axis(found, nearest[..., None], axis=2).all()


def test_travel_and_look_name_opposite_cells():
    phi = (PHI + np.random.default_rng(2).uniform(0, 360, (20, 15, 1))) % 360
    look = geo.sun_cells(phi, THETA, np.full(20, 8.0), np.ones(20), "look")
    assert np.array_equal(
        geo.sun_cells((phi + 180) % 360, -THETA, np.full(20, 8.0), np.ones(20)), look
    )


def test_no_sunlight_in_shade_and_both_unknowns_count_as_lit_on_the_equator():
    phi = np.tile((PHI + 3.0) % 360, (5, 15, 1))
    found = geo.sun_cells(
        phi, THETA, [0.0, 0.0, 0.0, np.nan, 20.0], [1.0, 0.0, np.nan, 0.1, 1.0]
    )
    assert (
        not found[1].any()
        and np.array_equal(found[2], found[0])
        and np.array_equal(found[3], found[0])
        and not np.array_equal(found[4], found[0])
    )
    phi[0, 0] = np.nan
    assert not geo.sun_cells(phi, THETA, np.zeros(5), np.ones(5))[0, 0].any()


def test_every_cell_that_the_simulator_lights_is_found():
    phi = cell_azimuths(np.random.default_rng(0).uniform(0, 360, 30))
    _, sunlit = expected_flux(Truth.of(30), energy_table(), phi)
    found = geo.sun_cells(phi, THETA, np.zeros(30), np.ones(30))
    assert (
        (sunlit > 0).any()
        and found[sunlit > 0].all()
        and found.sum() < 1.3 * (sunlit > 0).sum()
    )


def test_latitude_of_the_sun_is_its_distance_from_the_spin_plane(
    furnished, rows, attitude
):
    utc, b = rows
    found = geo.compute_geometry(utc, b, attitude).sun_latitude
    axis = attitude.axis(geo.unix_seconds(utc))
    for i in range(0, 600, 97):
        sun, _ = sp.spkpos("10", sp.str2et(str(utc[i])), "ECLIPJ2000", "NONE", "-25")
        assert found[i] == pytest.approx(
            90 - np.degrees(np.arccos(axis[i] @ sun / np.linalg.norm(sun))), abs=1e-5
        )
    assert np.abs(found).max() < 5 and np.ptp(found) > 0


# --- travel or look


def made_up(meaning, cone=0.3, glare=3.0, sweeps=200, seed=4):
    "Sweeps with a loss cone and sunlight, in angles of the given meaning."
    random = np.random.default_rng(seed)
    phi = (PHI + random.uniform(0, 360, (sweeps, 15, 1))) % 360
    b, polarity = random.normal(size=(sweeps, 3)), random.choice([-1, 1], sweeps)
    centre = 0 if meaning == "look" else 180
    bright = (np.abs(THETA) < 12) & (np.abs((phi - centre + 180) % 360 - 180) < 12)
    lost = geo.cell_pitch(phi, THETA, b, polarity, direction=meaning) < -0.7
    flux = (
        random.gamma(10.0, 1.0, phi.shape)
        * np.where(lost, cone, 1)
        * np.where(bright, glare, 1)
    )
    flux[random.random(flux.shape) < 0.002] = np.nan
    return flux, phi, THETA, b, polarity, np.ones(sweeps, np.int8)


@pytest.mark.parametrize("meaning", ["travel", "look"])
@pytest.mark.parametrize("cone, glare", [(0.3, 3.0), (0.3, 1.0), (1.0, 3.0)])
def test_the_diagnostic_finds_the_convention(meaning, cone, glare):
    assert geo.direction_diagnostic(*made_up(meaning, cone, glare)).verdict == meaning


def test_the_diagnostic_stays_undecided_without_evidence_or_with_contradicting_evidence():
    assert geo.direction_diagnostic(*made_up("travel", 1.0, 1.0)).verdict == "undecided"
    assert (
        geo.direction_diagnostic(*made_up("travel", 3.0, 3.0)).verdict == "undecided"
    )  # an inverted cone against the Sun
    flux, phi, theta, b, polarity, sun = made_up("travel")
    nothing = geo.direction_diagnostic(flux * np.nan, phi, theta, b, polarity, sun)
    assert (
        nothing.verdict == "undecided"
        and nothing.cone_sweeps == 0
        and "undecided" in str(nothing)
    )
