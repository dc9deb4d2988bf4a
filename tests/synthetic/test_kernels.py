"Kernels written from formulas: read back by SPICE they give the same numbers."

import numpy as np
import pytest
import spiceypy as sp

from lunar_potential.physics.pool import SPICE_LOCK
from lunar_potential.synthetic.kernels import (
    circular_orbit,
    leap_second_text,
    moon_position,
    moon_rotation,
    planetary_constants_text,
    sun_from_moon,
    sun_position,
    utc_to_et,
    write_kernels,
)
from lunar_potential.units import R_MOON_KM


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return write_kernels(
        tmp_path_factory.mktemp("a folder with spaces"),
        "1998-12-30",
        "1999-01-03",
        altitude=30.0,
    )


@pytest.fixture
def pool(kernels):
    with SPICE_LOCK, sp.KernelPool([str(path) for path in kernels]):
        yield


def test_names_and_order(kernels):
    assert [path.name for path in kernels] == [
        "latest_leapseconds.tls",
        "lp_ask_981230-990103.bsp",
        "lpephemu.bsp",
        "pck00011.tpc",
    ]
    assert sorted(path.name for path in kernels[0].parent.iterdir()) == [
        path.name for path in kernels
    ]


@pytest.mark.parametrize(
    "utc",
    [
        "1998-01-16T00:00:00",
        "1998-12-31T23:59:59",
        "1999-01-01T00:00:00",
        "1999-01-01T00:00:01",
        "1999-07-29T12:34:56",
        "1975-03-01T00:00:00",
        "2016-12-31T23:59:59",
        "2017-01-01T00:00:00",
    ],
)
def test_time_is_that_of_spice(pool, utc):
    assert abs(utc_to_et(utc) - sp.str2et(utc)) < 1e-6


def test_rotation_is_that_of_spice(pool):
    et = utc_to_et(np.arange("1998-01-01", "1999-08-01", 7, dtype="datetime64[D]"))
    expected = np.array([sp.pxform("J2000", "IAU_MOON", t) for t in et])
    assert np.abs(moon_rotation(et) - expected).max() < 1e-10
    assert np.abs(moon_rotation(et[3]) - expected[3]).max() < 1e-10


def test_positions_between_the_stored_states(pool):
    et = np.random.default_rng(0).uniform(
        utc_to_et("1998-12-30"), utc_to_et("1999-01-03"), 200
    )
    states = {
        (target, centre): np.array(
            [sp.spkezr(target, t, "J2000", "NONE", centre)[0] for t in et]
        )
        for target, centre in (
            ("-25", "301"),
            ("301", "399"),
            ("10", "3"),
            ("10", "301"),
        )
    }
    orbit = circular_orbit(et, float(utc_to_et("1998-12-30")), altitude=30.0)
    assert np.abs(states["-25", "301"] - orbit).max() < 1e-6
    assert np.abs(states["301", "399"][:, :3] - moon_position(et)).max() < 1e-5
    assert np.abs(states["10", "3"][:, :3] - sun_position(et)).max() < 1e-5
    assert np.abs(states["10", "301"][:, :3] - sun_from_moon(et)).max() < 1e-5
    moon_speed = np.linalg.norm(states["301", "399"][:, 3:], axis=1)
    assert 0.95 < moon_speed.min() and moon_speed.max() < 1.10  # km/s


def test_the_spacecraft_covers_the_span_and_no_more(pool, kernels):
    window = sp.spkcov(str(kernels[1]), -25)
    assert np.allclose(
        sp.wnfetd(window, 0),
        [utc_to_et("1998-12-30"), utc_to_et("1999-01-03")],
        atol=1e-6,
    )


@pytest.mark.parametrize("inclination", [0.0, 45.0, 90.0])
@pytest.mark.parametrize("hour", [0.0, 6.0, 12.0, 17.5])
def test_orbit_starts_at_the_equator_at_its_local_time(hour, inclination):
    et = float(utc_to_et("1998-04-01"))
    state = circular_orbit(
        [et, et + 600], et, altitude=80.0, inclination=inclination, node_local_time=hour
    )
    place, sun = moon_rotation(et) @ state[0, :3], moon_rotation(et) @ sun_from_moon(et)
    longitude, subsolar = (
        np.degrees(np.arctan2(place[1], place[0])),
        np.degrees(np.arctan2(sun[1], sun[0])),
    )
    assert abs((12 + (longitude - subsolar) / 15 - hour + 12) % 24 - 12) < 1e-9
    assert abs(place[2]) < 1e-6
    assert np.allclose(np.linalg.norm(state[:, :3], axis=1), R_MOON_KM + 80)
    assert np.allclose(np.sum(state[:, :3] * state[:, 3:], axis=1), 0, atol=1e-9)
    velocity = moon_rotation(et) @ state[0, 3:]
    assert np.isclose(
        velocity[2] / np.linalg.norm(velocity), np.sin(np.radians(inclination))
    )


def test_period_follows_kepler():
    start = float(utc_to_et("1998-04-01"))
    period = 2 * np.pi * np.sqrt((R_MOON_KM + 100) ** 3 / 4902.800066)
    states = circular_orbit([start, start + period], start)
    assert 117 < period / 60 < 119
    assert np.allclose(states[0], states[1], atol=1e-6)


def test_writing_twice_gives_the_same_bytes(kernels, tmp_path):
    again = write_kernels(
        tmp_path / "new" / "folder", "1998-12-30", "1999-01-03", altitude=30.0
    )
    again = write_kernels(
        tmp_path / "new" / "folder", "1998-12-30", "1999-01-03", altitude=30.0
    )  # over the first
    assert [a.read_bytes() for a in again] == [k.read_bytes() for k in kernels]


def test_an_empty_span_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cover no time"):
        write_kernels(tmp_path, "1998-04-02", "1998-04-01")


def test_text_kernels_stay_within_the_line_length_of_spice():
    for text in (leap_second_text(), planetary_constants_text()):
        assert max(map(len, text.splitlines())) < 132
