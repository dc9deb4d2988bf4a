"Loss cone: at the bounds of the search, and where there is nothing to find."

import numpy as np
import pytest
from losscone_truths import FACTOR, PLASMA_SHEET, PLASMAS, directions, fit, sweeps_of

from lunar_potential.physics.losscone.fitter import METHODS, POOR_FIT
from lunar_potential.physics.losscone.search import RATIO_BOUNDS, U_BOUNDS
from lunar_potential.synthetic.sweeps import Truth
from lunar_potential.units import Flag

# --- bounds

EVERYWHERE = 1e9  # m: a sheath so thick that the whole line has the potential of the
# ground, as the search assumes; a positive sheath below the spacecraft is not seen


@pytest.mark.parametrize(
    "u, ratio", [(-7000.0, 0.5), (160.0, 0.5), (-100.0, 1.6), (-100.0, 0.005)]
)
def test_a_truth_beyond_the_search_is_flagged(u, ratio):
    truth = Truth.of(
        6,
        **PLASMA_SHEET,
        u_surface=u,
        bs_over_bm=ratio,
        b=directions(6),
        sheath=EVERYWHERE if u > 0 else 1e-3,
    )
    for method in METHODS:
        found = fit(truth, sweeps_of(truth), method)
        assert found.bound_hit.all() and (found.flags & Flag.AT_BOUND).all()
        if ratio == 0.5:
            assert np.isnan(
                found.u_surface
            ).all()  # a potential at its bound is no measurement
        if u > 100 and method == "likelihood":  # nothing is known about what lies above
            assert (
                set(found.set_kind) == {"whole domain"}
                and np.isneginf(found.u_surface_lower_95).all()
                and np.isposinf(found.u_surface_upper_95).all()
            )


@pytest.mark.parametrize(
    "u, ratio", [(-4500.0, 0.5), (90.0, 0.5), (-100.0, 1.15), (-100.0, 0.06)]
)
def test_a_truth_just_inside_the_search_is_found(u, ratio):
    truth = Truth.of(
        6,
        **PLASMA_SHEET,
        u_surface=u,
        bs_over_bm=ratio,
        b=directions(6),
        sheath=EVERYWHERE if u > 0 else 1e-3,
    )
    found = fit(truth, sweeps_of(truth))
    assert found.identified.all() and not found.bound_hit.any()
    lowest = min(u, 0.0)  # what is found above 0 is said to be 0
    assert np.allclose(found.u_surface, lowest, rtol=0.03, atol=5) and np.allclose(
        found.bs_over_bm, ratio, rtol=0.1
    )


@pytest.mark.parametrize("u", [10.0, 90.0, 160.0])
def test_a_positive_ground_below_a_thin_sheath_measures_zero(u):
    "Electrons turn above the sheath, so the lowest potential on their way is 0 V."
    truth = Truth.of(6, **PLASMA_SHEET, u_surface=u, sheath=10.0, b=directions(6))
    found = fit(truth, sweeps_of(truth))
    assert found.identified.all() and (truth.u_lowest == 0).all()
    assert np.allclose(found.u_surface, 0, atol=2)


@pytest.mark.parametrize("method", METHODS)
def test_whatever_comes_in_results_stay_inside_the_bounds(method):
    rng = np.random.default_rng(2)
    truth = Truth.of(40, b=directions(40))
    sweeps = sweeps_of(truth)
    shaken = rng.exponential(1.0, sweeps.flux.shape) * sweeps.flux.mean(
        axis=2, keepdims=True
    )
    shaken[::2] *= rng.exponential(1.0, (20, 15, 1))
    share = np.repeat([0.05, 0.1, 0.2, 1.0], 10)[
        :, None, None
    ]  # what is all random is refused by the quasi-likelihood
    sweeps.flux = (1 - share) * sweeps.flux + share * shaken
    found = fit(truth, sweeps, method)
    ok = np.isfinite(found.u_surface)
    assert ok.any() and (ok == found.identified).all()
    for values, (low, high) in (
        (found.u_surface, U_BOUNDS),
        (found.bs_over_bm, RATIO_BOUNDS),
        (found.backscatter, (0, 0.6)),
        (found.beam_amp, (0, np.inf)),
    ):
        assert (
            (values[ok] >= low).all()
            and (values[ok] <= high).all()
            and np.isnan(values[~ok]).all()
        )
    assert (
        (RATIO_BOUNDS[0] > 0)
        and RATIO_BOUNDS[1] == 1.2
        and U_BOUNDS == (-5000.0, 100.0)
    )


@pytest.mark.parametrize("u", [0.0, 10.0])
def test_a_cone_open_at_every_energy_does_not_pile_up(u):
    truth = Truth.of(8, **PLASMA_SHEET, u_surface=u, bs_over_bm=1.08, b=directions(8))
    found = fit(truth, sweeps_of(truth, noise=True))
    known = found.identified & (found.flags & Flag.AT_BOUND == 0)
    assert ((found.u_surface_lower_68 <= u) & (u <= found.u_surface_upper_68))[
        known
    ].all()


# --- nothing there, nothing found


def nothing_found(found):
    assert (
        not found.identified.any()
        and np.isnan(found.u_surface).all()
        and np.isnan(found.bs_over_bm).all()
    )
    assert (found.flags & Flag.NOT_IDENTIFIED).all() and not (
        found.flags & Flag.TOO_FEW_CHANNELS
    ).any()


@pytest.mark.parametrize("name", PLASMAS)
def test_an_isotropic_distribution_has_no_potential(name):
    truth = Truth.of(40, **PLASMAS[name], connected=False, b=directions(40))
    for method in METHODS:
        nothing_found(fit(truth, sweeps_of(truth), method))
    found = fit(
        truth,
        sweeps_of(truth, noise=True, gain_error=0.04, background=10.0),
        background=10 * 2.5 / 8,
    )
    none = ~found.identified
    assert (
        none.mean() > 0.95
        and (found.flags[none] & Flag.NOT_IDENTIFIED).all()
        and np.isnan(found.u_surface[none]).all()
    )
    assert (
        set(found.set_kind[none]) == {"whole domain"}
        and np.isneginf(found.u_surface_lower_95[none]).all()
        and np.isposinf(found.u_surface_upper_68[none]).all()
    )


@pytest.mark.parametrize("method", ["halekas", "lillis"])
def test_noise_on_an_isotropic_distribution_gives_classical_methods_no_potential(
    method,
):
    truth = Truth.of(
        60, n=1e5, T=30.0, kappa=4.0, u_sc=-20.0, connected=False, b=directions(60)
    )
    assert fit(truth, sweeps_of(truth, noise=True), method).identified.mean() < 0.05


@pytest.mark.parametrize("mean", [1.0, 4.0, 20.0])
def test_counting_noise_alone_has_no_potential(mean):
    truth = Truth.of(40, b=directions(40))
    sweeps = sweeps_of(truth)
    unit = FACTOR * sweeps.energy[:, :, None]
    sweeps.flux = (
        np.random.default_rng(1).poisson(
            mean * FACTOR / FACTOR.min(), sweeps.flux.shape
        )
        / unit
    )
    found = fit(truth, sweeps)
    assert found.identified.mean() <= 0.03 and (found.n_channels > 10).all()


@pytest.mark.parametrize("spread", [1.0, 1.5, 2.0])
def test_what_the_model_does_not_describe_is_refused(spread):
    truth = Truth.of(60, **PLASMA_SHEET, connected=False, b=directions(60))
    sweeps = sweeps_of(truth)
    sweeps.flux = sweeps.flux * np.exp(
        np.random.default_rng(0).normal(0, spread, sweeps.flux.shape)
    )
    found = fit(truth, sweeps)
    poor = found.flags & int(Flag.POOR_FIT) > 0
    assert (
        poor.mean() > 0.95
        and (found.fit_quality[poor] > POOR_FIT).all()
        and found.identified.mean() < 0.05
    )
    assert (
        (found.flags[poor] & Flag.NOT_IDENTIFIED).all()
        and not found.identified[poor].any()
        and np.isnan(found.u_surface[poor]).all()
    )
    assert (
        set(found.set_kind[poor]) == {"whole domain"}
        and np.isneginf(found.u_surface_lower_68[poor]).all()
        and np.isposinf(found.u_surface_upper_95[poor]).all()
    )


@pytest.mark.parametrize("keep", [(8,), (2, 3), (5, 6), (8, 9)])
@pytest.mark.parametrize("method", METHODS)
def test_one_channel_or_two_are_too_few(method, keep):
    truth = Truth.of(3, **PLASMA_SHEET, b=directions(3))
    sweeps = sweeps_of(truth)
    sweeps.flux[:, [i for i in range(15) if i not in keep]] = np.nan
    found = fit(truth, sweeps, method)
    assert (
        (found.n_channels == len(keep)).all()
        and (found.flags == int(Flag.TOO_FEW_CHANNELS)).all()
        and set(found.set_kind) == {"none"}
    )
    assert (
        np.isnan(
            [
                found.u_surface,
                found.bs_over_bm,
                found.u_surface_lower_95,
                found.u_surface_upper_68,
            ]
        ).all()
        and not found.identified.any()
    )


def test_three_channels_below_the_surfaces_barrier_say_nothing():
    truth = Truth.of(30, **PLASMA_SHEET, u_surface=-250.0, b=directions(30))
    sweeps = sweeps_of(truth, noise=True)
    sweeps.flux[:, :12] = np.nan
    found = fit(truth, sweeps)
    assert (found.n_channels == 3).all()
    nothing_found(found)


@pytest.mark.parametrize("keep", [(2, 3, 4), (5, 6, 7), (8, 9, 10)])
def test_three_channels_leave_a_wide_set(keep):
    truth = Truth.of(30, **PLASMA_SHEET, u_surface=-80.0, b=directions(30))
    sweeps = sweeps_of(truth, noise=True)
    whole = fit(truth, sweeps)
    sweeps.flux[:, [i for i in range(15) if i not in keep]] = np.nan
    three = fit(truth, sweeps)
    inside = (three.u_surface_lower_95 <= -80) & (-80 <= three.u_surface_upper_95)
    assert (three.n_channels == 3).all() and inside.mean() > 0.9
    width, narrow = (
        f.u_surface_upper_95 - f.u_surface_lower_95 for f in (three, whole)
    )
    assert (width > 3 * narrow).mean() > 0.9
