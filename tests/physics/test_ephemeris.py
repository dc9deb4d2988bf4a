"Ephemeris: kernels, leap seconds and what is missing."

import numpy as np
import pytest
import spiceypy as sp
from known_orbit import orbit_kernels

from lunar_potential.data.archive import ArchiveError
from lunar_potential.physics import pool
from lunar_potential.physics.ephemeris import unix_seconds, unix_to_et
from lunar_potential.physics.pool import furnish


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return orbit_kernels(tmp_path_factory)


@pytest.fixture
def furnished(kernels):
    return furnish(kernels)


# --- kernels and time


def test_furnish_sorts_by_name_and_hashes(kernels):
    hashes = furnish(reversed(kernels)).hashes
    assert list(hashes) == sorted(path.name for path in kernels)
    assert all(len(digest) == 64 for digest in hashes.values())
    assert [sp.kdata(i, "ALL")[0] for i in range(sp.ktotal("ALL"))] == [
        str(path) for path in kernels
    ]


def test_furnish_loads_once(kernels, furnished, monkeypatch):
    def refuse(paths):
        raise AssertionError("loaded again")

    monkeypatch.setattr(pool, "_load", refuse)
    assert furnish(kernels) is furnished


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
        furnish([path for path in kernels if name not in path.name])
    furnish(kernels)


def test_kernels_that_do_not_exist_or_cannot_be_read(kernels, tmp_path):
    with pytest.raises(ArchiveError, match="nowhere.bsp"):
        furnish([*kernels, tmp_path / "nowhere.bsp"])
    (tmp_path / "torn.bsp").write_bytes(kernels[1].read_bytes()[:600])
    with pytest.raises(ArchiveError, match="torn.bsp"):
        furnish([*kernels, tmp_path / "torn.bsp"])
    with pytest.raises(ArchiveError, match="leap-second.*Sun"):
        furnish([])
    furnish(kernels)


def test_leap_second_at_the_end_of_1998(furnished):
    utc = np.array(
        [
            "1998-12-31T23:59:58",
            "1998-12-31T23:59:59",
            "1999-01-01T00:00:00",
            "1999-01-01T00:00:01",
        ]
    )
    et = unix_to_et(unix_seconds(utc.astype("M8[s]")), furnished)
    assert np.allclose(np.diff(et), [1, 2, 1], atol=1e-6)
    assert np.allclose(et, [sp.str2et(t) for t in utc], atol=1e-6, rtol=0)


def test_fractions_of_a_second_survive(furnished):
    assert np.isclose(
        unix_seconds(np.array(["1998-12-31T00:00:00.250"], "M8[ms]"))[0] % 1, 0.25
    )
