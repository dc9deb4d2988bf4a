"Loss cone: confidence sets of noisy sweeps, and profiles of the misfit."

import numpy as np
import pytest
from losscone_truths import (
    PLASMA_SHEET,
    WAKE,
    directions,
    fit,
    make_many,
    make_noisy,
    sweep_of,
    sweeps_of,
)

from lunar_potential.physics.losscone.sets import ROOT_95
from lunar_potential.physics.losscone.sweep import profile_misfit
from lunar_potential.synthetic.sweeps import Sweeps, Truth
from lunar_potential.units import Flag


@pytest.fixture(scope="module")
def noisy():
    return make_noisy()


@pytest.fixture(scope="module")
def plain(noisy):
    return fit(*noisy)


@pytest.fixture(scope="module")
def many():
    return make_many()


def test_noisy_sweeps_are_close_to_the_truth(many):
    for truth, _, found in many:
        off = np.abs(found.u_surface - truth.u_surface)[found.identified]
        assert (
            found.identified.mean() > 0.95
            and np.median(off) < 2.5
            and np.quantile(off, 0.95) < 20
        )
        assert 0.5 < np.median(found.fit_quality[found.identified]) < 1.5


@pytest.mark.parametrize("level, low, high", [("68", 0.60, 0.92), ("95", 0.92, 1.0)])
def test_sets_hold_the_truth_as_often_as_they_say(many, level, low, high):
    inside = [
        (getattr(f, f"u_surface_lower_{level}") <= t.u_surface)
        & (t.u_surface <= getattr(f, f"u_surface_upper_{level}"))
        for t, _, f in many
    ]
    assert low < np.concatenate(inside).mean() <= high


def test_sets_are_open_only_where_their_kind_says(many):
    for _, _, found in many:
        low, high = (
            np.isneginf(found.u_surface_lower_95),
            np.isposinf(found.u_surface_upper_95),
        )
        assert ((found.set_kind == "two-sided") <= (~low & ~high)).all() and (
            low
            <= np.isin(found.set_kind, ["upper limit", "disconnected", "whole domain"])
        ).all()
        assert (
            high
            <= np.isin(found.set_kind, ["lower limit", "disconnected", "whole domain"])
        ).all()
        assert ((found.n_components > 1) == (found.set_kind == "disconnected")).all()


def test_every_set_holds_its_value_and_the_narrow_one_lies_in_the_wide_one():
    rng = np.random.default_rng(3)
    for seed, plasma in enumerate((PLASMA_SHEET, {**WAKE, "n": 2e5})):
        truth = Truth.of(
            300,
            **plasma,
            u_surface=rng.uniform(-12, 20, 300),
            bs_over_bm=rng.uniform(0.1, 0.9, 300),
            b=directions(300, seed),
        )
        found = fit(
            truth,
            sweeps_of(truth, noise=True, seed=seed, background=10.0),
            background=10 * 2.5 / 8,
            scatter=0.0135,
        )
        ends = [
            found.u_surface_lower_95,
            found.u_surface_lower_68,
            found.u_surface,
            found.u_surface_upper_68,
            found.u_surface_upper_95,
        ]
        for low, high in zip(ends[:-1], ends[1:]):
            assert (low <= high)[found.identified].all()


def test_noise_and_nothing_else_makes_the_set():
    truth = Truth.of(30, **WAKE, u_surface=-120.0, b=directions(30))
    few, more = (
        fit(truth, sweeps_of(truth, noise=True, seed=s), scatter=0.0135) for s in (1, 2)
    )
    assert (few.u_surface != more.u_surface).all()
    thin = Truth(**{**vars(truth), "n": truth.n / 30})
    wide = fit(thin, sweeps_of(thin, noise=True), scatter=0.0135)
    width, narrow = (
        np.median(f.u_surface_upper_68 - f.u_surface_lower_68) for f in (wide, few)
    )
    assert width > 1.5 * narrow


def test_classical_methods_claim_no_confidence(noisy):
    for method in ("halekas", "lillis"):
        found = fit(*noisy, method)
        assert (
            set(found.set_kind) == {"none"}
            and np.isnan(found.u_surface_lower_95).all()
            and np.isnan(found.u_surface_upper_68).all()
        )


def profile(noisy, s, u):
    return profile_misfit(np.asarray(u, float), sweep_of(*noisy, s))


def test_the_profile_is_least_at_the_result_and_ends_the_set(noisy, plain):
    for s in (2, 6):
        low, u, high = (
            plain.u_surface_lower_95[s],
            plain.u_surface[s],
            plain.u_surface_upper_95[s],
        )
        rise = profile(
            noisy, s, [low - 0.4 * (u - low), low, u, high, high + 0.4 * (high - u)]
        )
        assert abs(rise[2]) < 0.1 and rise[0] > ROOT_95**2 < rise[4]
        assert rise[1] == pytest.approx(ROOT_95**2, rel=0.35) and rise[
            3
        ] == pytest.approx(ROOT_95**2, rel=0.35)


def test_the_truth_is_likelier_than_a_wrong_potential(noisy):
    truth, _ = noisy
    for s in (1, 4, 8):
        true, low, high = profile(
            noisy, s, truth.u_surface[s] + np.array([0.0, -60.0, 60.0])
        )
        assert true < 10 and low > true + 10 and high > true + 10


def test_a_profile_needs_three_channels(noisy):
    truth, sweeps = noisy
    with pytest.raises(ValueError, match="0 usable energies"):
        profile(
            (truth, Sweeps(**{**vars(sweeps), "flux": np.zeros_like(sweeps.flux)})),
            0,
            [-50.0],
        )


def test_what_the_model_describes_is_not_called_poor(many):
    for _, _, found in many:
        assert not (found.flags & Flag.POOR_FIT).any()
