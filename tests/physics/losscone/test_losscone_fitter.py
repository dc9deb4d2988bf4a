"Loss cone: symmetries, sweeps on their own, the field, the spacecraft."

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from losscone_truths import (
    CELLS,
    FACTOR,
    LOBE,
    PLASMA_SHEET,
    WAKE,
    directions,
    fit,
    make_mixed,
    make_noisy,
    same_fits,
    sweeps_of,
)

from lunar_potential.data.er.erdata import ERData
from lunar_potential.physics.losscone.cells import make_cells
from lunar_potential.physics.losscone.fitter import METHODS, LossConeFitter
from lunar_potential.physics.losscone.sets import ROOT_68, ROOT_95
from lunar_potential.stages import moonward_field
from lunar_potential.synthetic.instrument import THETA
from lunar_potential.synthetic.sweeps import Sweeps, Truth
from lunar_potential.units import Flag


@pytest.fixture(scope="module")
def noisy():
    return make_noisy()


@pytest.fixture(scope="module")
def plain(noisy):
    return fit(*noisy)


@pytest.fixture(scope="module")
def mixed():
    return make_mixed()


# --- symmetries


@settings(deadline=None, max_examples=10)
@given(st.floats(0.0, 360.0))
def test_turning_the_instrument_about_its_spin_axis_changes_nothing(
    noisy, plain, angle
):
    truth, sweeps = noisy
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    b = truth.b @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    turned = Sweeps(**{**vars(sweeps), "phi": (sweeps.phi + angle) % 360})
    found = fit(Truth(**{**vars(truth), "b": b}), turned)
    assert np.allclose(
        found.u_surface, plain.u_surface, rtol=5e-3, atol=0.2
    ) and np.allclose(found.bs_over_bm, plain.bs_over_bm, atol=2e-3)


def test_turning_the_field_alone_changes_the_result(noisy, plain):
    truth, sweeps = noisy
    found = fit(
        Truth(
            **{
                **vars(truth),
                "b": truth.b @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
            }
        ),
        sweeps,
    )
    assert not np.allclose(found.u_surface, plain.u_surface, rtol=0.1, equal_nan=True)


def test_the_mirror_image_has_the_same_potential(noisy, plain):
    truth, sweeps = noisy
    south = (
        sweeps.energy,
        sweeps.flux,
        sweeps.phi,
        make_cells(-THETA, FACTOR),
        moonward_field(truth.b * [1, 1, -1], truth.polarity),
    )
    west = (
        sweeps.energy,
        sweeps.flux,
        -sweeps.phi,
        CELLS,
        moonward_field(truth.b * [1, -1, 1], truth.polarity),
    )
    for arrays in (south, west):
        assert np.allclose(
            LossConeFitter().fit(*arrays, truth.u_sc).u_surface,
            plain.u_surface,
            rtol=5e-3,
            atol=0.2,
        )


def test_polarity_flips_with_the_field(noisy, plain):
    truth, sweeps = noisy
    same_fits(
        fit(
            Truth(**{**vars(truth), "b": -truth.b, "polarity": -truth.polarity}), sweeps
        ),
        plain,
    )


def test_the_strength_of_the_field_does_not_matter(noisy, plain):
    truth, sweeps = noisy
    same_fits(fit(Truth(**{**vars(truth), "b": 2.0 * truth.b}), sweeps), plain)


def test_the_moonward_direction_is_a_unit_vector_and_unknown_without_connection():
    b = 7 * directions(4)
    found = moonward_field(b, np.array([1, -1, 0, 1]))
    assert (
        np.allclose(found[[0, 1, 3]] * 7, b[[0, 1, 3]] * [[1], [-1], [1]], atol=1e-12)
        and np.isnan(found[2]).all()
    )
    assert np.allclose(np.linalg.norm(found[[0, 1, 3]], axis=1), 1, atol=1e-12)
    assert np.array_equal(
        moonward_field(b, np.ones(4), "look"), -moonward_field(b, np.ones(4))
    )


# --- sweeps do not know of each other


@pytest.mark.parametrize("method", METHODS)
def test_any_chunks_and_any_order_give_the_same_bits(mixed, method):
    truth, sweeps, u_spacecraft = mixed
    b, error, background = (
        moonward_field(truth.b, truth.polarity),
        np.linspace(0, 3, 18),
        np.linspace(0, 5, 18),
    )

    def fit_of(rows):
        return LossConeFitter(method).fit(
            sweeps.energy[rows],
            sweeps.flux[rows],
            sweeps.phi[rows],
            CELLS,
            b[rows],
            u_spacecraft[rows],
            error[rows],
            None,
            background[rows],
        )

    whole = fit_of(np.arange(18))
    assert 0 < whole.identified.sum() < 18 and len(set(whole.flags)) > 3
    for size in (1, 5):
        for start in range(0, 18, size):
            rows = np.arange(start, min(start + size, 18))
            same_fits(fit_of(rows), whole, rows, f"chunks of {size}")
    order = np.random.default_rng(0).permutation(18)
    same_fits(fit_of(order), whole, order, "shuffled")


@pytest.mark.parametrize("method", METHODS)
def test_the_field_of_the_sweep_given_row_by_row_gives_the_same_bits(mixed, method):
    truth, sweeps, u_spacecraft = mixed
    b = moonward_field(truth.b, truth.polarity)
    arrays = sweeps.energy, sweeps.flux, sweeps.phi, CELLS
    whole = LossConeFitter(method).fit(*arrays, b, u_spacecraft)
    by_row = np.repeat(b[:, None], 15, axis=1)
    same_fits(LossConeFitter(method).fit(*arrays, by_row, u_spacecraft), whole)
    for start in range(0, 18, 4):
        rows = np.arange(start, min(start + 4, 18))
        some = LossConeFitter(method).fit(
            *(a[rows] for a in arrays[:3]), CELLS, by_row[rows], u_spacecraft[rows]
        )
        same_fits(some, whole, rows, "chunks of 4")


def test_the_input_is_left_alone_and_may_lie_in_memory_as_it_likes(mixed):
    truth, sweeps, u_spacecraft = mixed
    before = {name: a.copy() for name, a in vars(sweeps).items()}, u_spacecraft.copy()
    one = fit(truth, sweeps, u_spacecraft=u_spacecraft)
    for name, a in vars(sweeps).items():
        np.testing.assert_array_equal(a, before[0][name], err_msg=name)
    np.testing.assert_array_equal(u_spacecraft, before[1])
    strange = Sweeps(
        **{
            **vars(sweeps),
            "flux": np.asfortranarray(sweeps.flux),
            "phi": np.repeat(sweeps.phi, 2, axis=1)[:, ::2],
        }
    )
    for a in (strange.flux, strange.phi):
        a.setflags(write=False)
    same_fits(fit(truth, strange, u_spacecraft=u_spacecraft), one)


def test_the_order_of_the_rows_of_a_table_does_not_matter():
    truth = Truth.of(6, **WAKE, u_surface=-120.0, b=directions(6))
    frame = sweeps_of(truth, noise=True).to_frame()
    shuffled = frame.iloc[
        np.concatenate(
            [15 * s + np.random.default_rng(s).permutation(15) for s in range(6)]
        )
    ]
    fits = []
    for table in (frame, shuffled):
        block = ERData.from_dataframe(table.reset_index(drop=True), THETA).padded()
        fits.append(
            LossConeFitter().fit(
                block["energy"],
                block["flux"],
                block["phi"],
                CELLS,
                moonward_field(block["b"], truth.polarity),
                truth.u_sc,
            )
        )
    same_fits(*fits)
    assert fits[0].identified.all()


def test_no_sweeps_at_all():
    nothing = LossConeFitter().fit(
        np.zeros((0, 15)),
        np.zeros((0, 15, 88)),
        np.zeros((0, 15, 88)),
        CELLS,
        np.zeros((0, 3)),
        np.zeros(0),
    )
    assert len(nothing) == 0


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="likelihood, halekas, lillis"):
        LossConeFitter("magic")


def test_a_sweep_that_is_not_connected_has_no_fit(mixed):
    truth, sweeps, u_spacecraft = mixed
    found = fit(truth, sweeps, u_spacecraft=u_spacecraft)
    lost = truth.polarity == 0
    assert (
        np.isnan(found.u_surface[lost]).all()
        and (found.n_channels[lost] == 0).all()
        and (found.flags[lost] == int(Flag.TOO_FEW_CHANNELS)).all()
    )


# --- the field


@pytest.fixture(scope="module")
def turning():
    "Sweeps in which the field turns by 30 deg, and the moonward direction of each row."
    middle, axis = directions(12, 4), np.cross(directions(12, 4), directions(12, 9))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.radians(np.linspace(-15, 15, 15))[:, None]
    rows = middle[:, None] * np.cos(angle) + axis[:, None] * np.sin(angle)
    truth = Truth.of(
        12,
        **WAKE,
        u_surface=np.linspace(-250, -30, 12),
        bs_over_bm=np.linspace(0.25, 0.9, 12),
        b=middle,
    )
    at = [
        sweeps_of(Truth(**{**vars(truth), "b": rows[:, i]}), noise=True)
        for i in range(15)
    ]
    assert all(np.array_equal(one.phi, at[0].phi) for one in at)
    return (
        truth,
        Sweeps(
            **{
                **vars(at[0]),
                "flux": np.stack([one.flux[:, i] for i, one in enumerate(at)], axis=1),
            }
        ),
        moonward_field(rows, truth.polarity[:, None]),
    )


def fit_along(turning, b):
    truth, sweeps, _ = turning
    return LossConeFitter(scatter=0.0135).fit(
        sweeps.energy, sweeps.flux, sweeps.phi, CELLS, b, truth.u_sc
    )


def test_a_field_that_turns_within_the_sweep_is_followed_row_by_row(turning):
    truth, _, b = turning
    by_row, middle = (
        fit_along(turning, b),
        fit_along(turning, moonward_field(truth.b, truth.polarity)),
    )
    off, lost = (
        np.abs(by_row.u_surface - truth.u_surface),
        np.abs(middle.u_surface - truth.u_surface),
    )
    assert by_row.identified.all() and off.max() < 5 and np.median(off) < 1
    assert (
        (by_row.u_surface_lower_95 <= truth.u_surface)
        & (truth.u_surface <= by_row.u_surface_upper_95)
    ).mean() > 0.8
    assert (
        np.median(lost) > 5 * np.median(off)
        and (middle.fit_quality > 1.3 * by_row.fit_quality).all()
    )


def test_a_row_without_field_is_left_out_and_all_of_them_are_no_connection(turning):
    truth, _, b = turning
    some = b.copy()
    some[:, 5], some[3] = np.nan, np.nan
    found, rest = fit_along(turning, some), np.arange(12) != 3
    assert (
        found.n_channels[rest] == fit_along(turning, b).n_channels[rest] - 1
    ).all() and np.abs(found.u_surface - truth.u_surface)[rest].max() < 8
    assert found.n_channels[3] == 0 and found.flags[3] == int(Flag.TOO_FEW_CHANNELS)


def test_an_uncertain_field_widens_the_sets_and_covers_a_wrong_one():
    rng = np.random.default_rng(5)
    truth = Truth.of(
        150,
        **PLASMA_SHEET,
        u_surface=rng.uniform(-200, -20, 150),
        bs_over_bm=rng.uniform(0.2, 0.9, 150),
        b=directions(150, 8),
    )
    sweeps = sweeps_of(truth, noise=True)
    off = rng.normal(0, math.radians(2), (150, 3))
    wrong = Truth(
        **{
            **vars(truth),
            "b": truth.b + off - np.sum(off * truth.b, axis=1, keepdims=True) * truth.b,
        }
    )
    width, inside = [], []
    for error in (0.0, 0.3, 1.0, 2.0):
        found = fit(wrong, sweeps, scatter=0.0135, field_error=error)
        width.append(np.median(found.u_surface_upper_95 - found.u_surface_lower_95))
        inside.append(
            (
                (found.u_surface_lower_95 <= truth.u_surface)
                & (truth.u_surface <= found.u_surface_upper_95)
            ).mean()
        )
    assert (np.diff(width) > 0).all() and width[3] > 1.6 * width[0]
    assert inside[0] < 0.85 and inside[3] > 0.93


# --- the spacecraft's potential


def test_potentials_by_row_are_those_of_the_sweep(mixed):
    truth, sweeps, u_spacecraft = mixed
    rows = np.repeat(u_spacecraft[:, None], 15, axis=1)
    rows[3, ::2] = np.nan
    rows[10, 0] += 50.0  # a stray row does not count
    same_fits(
        fit(truth, sweeps, u_spacecraft=rows),
        fit(truth, sweeps, u_spacecraft=u_spacecraft),
    )


def test_potentials_of_other_sweeps_are_refused(mixed):
    truth, sweeps, _ = mixed
    with pytest.raises(ValueError, match="17 rows of sweeps, the data have 18"):
        fit(truth, sweeps, u_spacecraft=np.zeros((17, 15)))


@pytest.mark.parametrize(
    "unknown", [np.nan, np.full(18, np.nan), np.full((18, 15), np.nan), np.inf]
)
def test_an_unknown_spacecraft_gives_a_potential_relative_to_it_and_says_so(
    mixed, unknown
):
    truth, sweeps, _ = mixed
    relative, at_zero = (
        fit(truth, sweeps, u_spacecraft=unknown, u_error=5.0),
        fit(truth, sweeps, u_spacecraft=0.0),
    )
    found, connected = np.isfinite(at_zero.u_surface), truth.polarity != 0
    assert np.isnan(relative.u_surface).all() and not relative.identified.any()
    np.testing.assert_array_equal(
        np.minimum(relative.u_surface_relative, 0)[found], at_zero.u_surface[found]
    )
    two_sided = found & (at_zero.set_kind == "two-sided")
    for end in ("lower_95", "upper_95"):
        np.testing.assert_array_equal(
            getattr(relative, f"u_surface_relative_{end}")[two_sided],
            getattr(at_zero, f"u_surface_{end}")[two_sided],
        )
    said = relative.flags & int(Flag.RELATIVE_TO_SPACECRAFT)
    np.testing.assert_array_equal(said != 0, connected)
    assert two_sided.any()


def test_channels_below_the_spacecraft_are_not_seen():
    truth = Truth.of(5, **{**LOBE, "u_sc": 60.0}, u_surface=-150.0, b=directions(5))
    sweeps = sweeps_of(truth, noise=True)
    one = fit(truth, sweeps)
    below = sweeps.energy[0] < 60
    assert below.sum() == 2
    for other in (np.nan, 0.0, 1e12):  # the last: photoelectrons
        sweeps.flux[:, below] = other
        same_fits(fit(truth, sweeps), one)


def test_the_stated_shift_is_the_shift():
    truth = Truth.of(12, **WAKE, u_surface=np.linspace(-250, -40, 12), b=directions(12))
    sweeps = sweeps_of(truth)
    fits = [fit(truth, sweeps, u_spacecraft=truth.u_sc + d) for d in (-1.0, 0.0, 1.0)]
    slope = (fits[2].u_surface - fits[0].u_surface) / 2
    assert (
        np.median(np.abs(fits[1].du_duspacecraft - slope)) < 0.2
        and (np.abs(slope) > 0.1).mean() > 0.5
    )


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("step", [2.0, 3.0])
def test_the_stated_shift_is_that_of_a_fit_with_another_spacecraft(noise, step):
    truth = Truth.of(
        24,
        **WAKE,
        u_surface=np.linspace(-250, -40, 24),
        bs_over_bm=np.tile([0.3, 0.5, 0.8], 8),
        b=directions(24),
        beam_amp=np.tile([0.0, 1.0], 12),
    )
    sweeps = sweeps_of(truth, noise=noise)
    found, moved = (
        fit(truth, sweeps, u_error=step),
        fit(truth, sweeps, u_spacecraft=truth.u_sc + step),
    )
    slope = (moved.u_surface - found.u_surface) / step
    assert (
        np.abs(found.du_duspacecraft - slope).max() < 0.15
        and np.median(np.abs(found.du_duspacecraft - slope)) < 0.03
    )
    assert np.median(np.abs(slope)) > 0.3


def test_an_uncertain_spacecraft_widens_the_set_by_the_shift(noisy, plain):
    truth, sweeps = noisy
    wide = fit(truth, sweeps, u_error=10.0)
    known = (
        plain.identified
        & np.isfinite(plain.u_surface_lower_95)
        & np.isfinite(plain.u_surface_upper_95)
    )
    for level, root in (("95", ROOT_95), ("68", ROOT_68)):
        for end in ("lower", "upper"):
            d0, d1 = (
                getattr(f, f"u_surface_{end}_{level}")[known] - f.u_surface[known]
                for f in (plain, wide)
            )
            assert np.allclose(
                d1**2 - d0**2,
                (root * 10 * wide.du_duspacecraft[known]) ** 2,
                rtol=1e-6,
                atol=1e-6,
            ), (end, level)
    np.testing.assert_array_equal(wide.u_surface, plain.u_surface)
