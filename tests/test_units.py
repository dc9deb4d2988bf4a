"Constants, cells and flags: what every other room takes for granted."

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.units import (
    E_CHARGE,
    FLAG_TEXT,
    M_ELECTRON,
    M_PROTON,
    MAX_ROWS,
    N_CELLS,
    R_MOON_KM,
    Flag,
    cell_solid_angle,
    cells_in_ring,
    describe_flags,
    electron_speed,
)

RINGS = (78.75, 56.25, 33.75, 11.25, -11.25, -33.75, -56.25, -78.75)
anytime = settings(deadline=None)  # a busy machine is no failure


def test_constants_are_those_of_codata():
    from scipy import constants

    for ours, theirs in (
        (E_CHARGE, constants.e),
        (M_ELECTRON, constants.m_e),
        (M_PROTON, constants.m_p),
    ):
        assert ours == pytest.approx(
            theirs, rel=1e-7
        )  # far above what changes between the tables of 2018 and 2022
    assert R_MOON_KM == 1737.4 and MAX_ROWS == 15


# --- speed


def test_an_electron_at_100_metres_a_second():
    assert electron_speed(4.55469186e-27 / E_CHARGE) == pytest.approx(100.0, rel=1e-8)


@anytime
@given(st.floats(1e-3, 1e5))
def test_speed_gives_back_the_energy(energy):
    assert M_ELECTRON * electron_speed(energy) ** 2 / (2 * E_CHARGE) == pytest.approx(
        energy, rel=1e-12
    )


def test_speed_keeps_the_shape():
    energy = np.array([[1.0, 4.0], [9.0, 0.0]])
    assert np.allclose(electron_speed(energy) / electron_speed(1.0), [[1, 2], [3, 0]])


# --- cells


def test_the_cells_cover_the_sphere_once():
    assert sum(cells_in_ring(ring) for ring in RINGS) == N_CELLS
    assert sum(
        cells_in_ring(ring) * cell_solid_angle(ring) for ring in RINGS
    ) == pytest.approx(4 * np.pi, rel=1e-12)


@pytest.mark.parametrize("ring", RINGS)
def test_north_and_south_have_the_same_cells(ring):
    assert cells_in_ring(ring) == cells_in_ring(-ring) and cell_solid_angle(
        ring
    ) == pytest.approx(cell_solid_angle(-ring))


@pytest.mark.parametrize("ring", RINGS)
def test_a_cell_is_as_large_as_counting_points_says(ring):
    points = np.random.default_rng(0).normal(size=(400_000, 3))
    latitude = np.degrees(np.arcsin(points[:, 2] / np.linalg.norm(points, axis=1)))
    share = (np.abs(latitude - ring) < 11.25).mean()
    assert cell_solid_angle(ring) * cells_in_ring(ring) / (4 * np.pi) == pytest.approx(
        share, rel=0.02
    )


@pytest.mark.parametrize("theta", [78.7, 78.8, -11.3, 33.8])
def test_a_latitude_rounded_in_the_table_is_still_its_ring(theta):
    assert cells_in_ring(theta) == cells_in_ring(
        min(RINGS, key=lambda ring: abs(ring - theta))
    )


@pytest.mark.parametrize("theta", [0.0, 22.5, 90.0, -45.0, float("nan"), 999.99])
def test_a_latitude_between_the_rings_is_refused(theta):
    with pytest.raises(ValueError, match="rings are"):
        cells_in_ring(theta)
    with pytest.raises(ValueError, match="rings are"):
        cell_solid_angle(theta)


# --- flags


def test_the_bits_of_stored_files_keep_their_meaning():
    names = (
        "NO_MAGNETIC_FIELD",
        "NO_KERNEL_COVERAGE",
        "NO_ATTITUDE",
        "NOT_CONNECTED",
        "SHORT_SWEEP",
        "MASKED_CELLS",
        "KAPPA_FAILED",
        "KAPPA_AT_BOUND",
        "NO_U_SPACECRAFT",
        "SEVERAL_ROOTS",
        "RELATIVE_TO_SPACECRAFT",
        "TOO_FEW_CHANNELS",
        "NOT_IDENTIFIED",
        "AT_BOUND",
        "FIT_FAILED",
        "ENERGY_INVALID",
    )
    stored = {name: 2**bit for bit, name in enumerate(names)}
    assert {name: int(Flag[name]) for name in names} == stored
    assert all(0 < int(flag) < 2**32 for flag in Flag)


def test_every_flag_has_words_of_its_own():
    assert set(FLAG_TEXT) == set(Flag) and len(set(FLAG_TEXT.values())) == len(Flag)
    assert not any(
        ";" in text for text in FLAG_TEXT.values()
    )  # or a description could not be taken apart


@anytime
@given(st.sets(st.sampled_from(list(Flag))))
def test_words_name_exactly_the_bits_that_are_set(flags):
    value = np.uint32(sum(int(flag) for flag in flags))
    words = describe_flags(value)
    assert set(words.split("; ")) - {""} == {FLAG_TEXT[flag] for flag in flags}


def test_no_flag_no_words_and_an_unknown_bit_adds_none():
    assert describe_flags(0) == describe_flags(2**31) == ""
