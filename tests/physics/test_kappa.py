"Kappa plasmas: closed forms, the instrument's band, and fits of simulated sweeps whose plasma is known."

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gamma

from lunar_potential.data.er import count_factor
from lunar_potential.physics.geometry import cell_pitch
from lunar_potential.physics.kappa import (
    INCIDENT_MU,
    MODELS,
    NOMINAL_BACKGROUND,
    RING_FACTOR,
    IncidentCounts,
    Response,
    ambient_moments,
    cell_counts,
    code_midpoint,
    compare_models,
    fit_kappa,
    folded_spectrum,
    incident_counts,
    kappa_current,
    kappa_flux,
    kappa_psd,
    maxwellian_flux,
    maxwellian_psd,
    moments,
    response_nodes,
    seen_flux,
    usable_energy,
)
from lunar_potential.synthetic.simulate import (
    THETA,
    SimulationOptions,
    Truth,
    ambient_flux,
    energy_table,
    log_compress,
    measured_flux,
    simulate_sweeps,
)
from lunar_potential.units import E_CHARGE, M_ELECTRON, Flag, electron_speed

FACTOR = count_factor(THETA)
ENERGY = energy_table()
PLASMAS = {
    "solar wind": (5e6, 12.0, 4.5),
    "sheath": (1e7, 40.0, 4.0),
    "wake": (3e5, 60.0, 3.2),
    "lobe": (8e4, 90.0, 3.0),
    "plasma sheet": (3e5, 400.0, 4.0),
}
anytime = settings(deadline=None)  # a busy machine is no failure
density, temperature, index = (
    st.floats(1e3, 1e8),
    st.floats(1.0, 3000.0),
    st.floats(1.7, 60.0),
)


def integral(values, energy):
    "Over energy, on a logarithmic axis."
    return np.trapezoid(values * energy, np.log(energy))


def wide_axis(temperature, kappa):
    "Energies that hold all but a millionth of a plasma's density."
    width = temperature * (kappa - 1.5)
    return width * np.geomspace(1e-8, 1e2 + 1e6 ** (1 / (kappa - 0.5)), 20_001)


def fields_of(size, seed=1):
    return 8 * np.random.default_rng(seed).normal(size=(size, 3))


def spectra(truth, noise=False, background=0.0, seed=0):
    "Incident counts of simulated sweeps; without noise and without the code's steps, or with both."
    options = SimulationOptions(
        gain_error=0.0, flag_rate=0.0, background=8 / 2.5 * background
    )
    sweeps = simulate_sweeps(truth, options, noise=noise, seed=seed)
    mu = cell_pitch(sweeps.phi, sweeps.theta, sweeps.b, truth.polarity)
    counts = (
        cell_counts(sweeps.energy, sweeps.flux, FACTOR)
        if noise
        else sweeps.flux * sweeps.energy[:, :, None] * FACTOR
    )
    return incident_counts(sweeps.energy, counts, mu, FACTOR, background)


def ideal(flux, energy=ENERGY, exposure=50.0):
    "One sweep with exactly these fluxes, no background."
    unit = exposure * np.asarray(energy, float)
    return IncidentCounts(
        np.array([energy], float),
        np.array([flux * unit]),
        np.array([unit]),
        np.zeros((1, len(energy))),
        np.ones(1),
    )


def arrays(record):
    return {f.name: getattr(record, f.name) for f in fields(record)}


# --- closed forms


@anytime
@given(density, temperature, index)
def test_density_and_temperature_are_the_moments(n, T, kappa):
    energy = wide_axis(T, kappa)
    omni = 4 * np.pi * 1e4 * kappa_flux(energy, n, T, kappa) / electron_speed(energy)
    assert integral(omni, energy) == pytest.approx(n, rel=1e-3)
    if kappa > 2.5:  # below it the last per cent of the pressure lies beyond any axis
        assert 2 / 3 * integral(omni * energy, energy) / n == pytest.approx(T, rel=1e-2)


@anytime
@given(density, temperature, st.floats(2.0, 60.0))
def test_current_is_a_quarter_of_the_omnidirectional_flux(n, T, kappa):
    energy = wide_axis(T, kappa)
    numeric = (
        math.pi * E_CHARGE * 1e4 * integral(kappa_flux(energy, n, T, kappa), energy)
    )
    assert kappa_current(n, T, kappa) == pytest.approx(
        numeric, rel=2e-2 if kappa < 2.5 else 1e-3
    )


def test_current_of_the_published_case():
    n, kappa, theta = 1e6, 3.0, 1e5
    T = 0.5 * M_ELECTRON * theta**2 * kappa / (kappa - 1.5) / E_CHARGE
    closed = (
        E_CHARGE
        * n
        * theta
        * math.sqrt(kappa)
        * gamma(kappa - 1)
        / (2 * math.sqrt(math.pi) * gamma(kappa - 0.5))
    )
    assert closed == pytest.approx(5.8888e-9, rel=1e-5)
    assert kappa_current(n, T, kappa) == pytest.approx(closed, rel=1e-12)


@pytest.mark.parametrize(
    "kappa, share", [(2.5, 0.886), (4.0, 0.952), (6.0, 0.973), (1e6, 1.0)]
)
def test_current_tends_to_the_maxwellian_one(kappa, share):
    assert kappa_current(1e6, 10.0, kappa) == pytest.approx(share * 8.48e-8, rel=1e-3)


def test_current_for_every_density_and_temperature():
    assert kappa_current(4e6, 90.0, 3.3) == pytest.approx(
        4 * 3 * kappa_current(1e6, 10.0, 3.3), rel=1e-12
    )


@anytime
@given(density, index, st.floats(1e5, 1e7), st.floats(0.0, 10.0), st.floats(0.01, 10.0))
def test_phase_space_density_falls_as_the_kappa_law(n, kappa, theta, slow, more):
    T = 0.5 * M_ELECTRON * theta**2 * kappa / (kappa - 1.5) / E_CHARGE
    speed = theta * np.array([slow, slow + more])
    first, second = kappa_psd(0.5 * M_ELECTRON * speed**2 / E_CHARGE, n, T, kappa)
    assert first > second
    ratio = (
        (kappa * theta**2 + speed[0] ** 2) / (kappa * theta**2 + speed[1] ** 2)
    ) ** (-kappa - 1)
    assert first / second == pytest.approx(ratio, rel=1e-9)


@anytime
@given(density, temperature, index)
def test_flux_is_density_of_phase_space_times_speed_squared(n, T, kappa):
    energy = np.array([1.0, 30.0, 2e4])
    expected = (
        kappa_psd(energy, n, T, kappa)
        * electron_speed(energy) ** 2
        * E_CHARGE
        / M_ELECTRON
        * 1e-4
    )
    assert np.allclose(kappa_flux(energy, n, T, kappa), expected, rtol=1e-12, atol=0)


@anytime
@given(density, temperature, index, st.floats(0.1, 100.0))
def test_flux_and_current_grow_with_density(n, T, kappa, factor):
    assert np.allclose(
        kappa_flux(ENERGY, factor * n, T, kappa),
        factor * kappa_flux(ENERGY, n, T, kappa),
        rtol=1e-12,
        atol=0,
    )
    assert kappa_current(factor * n, T, kappa) == pytest.approx(
        factor * kappa_current(n, T, kappa), rel=1e-12
    )


@anytime
@given(density, temperature, index)
def test_flux_equals_that_of_the_simulator(n, T, kappa):
    assert np.allclose(
        kappa_flux(ENERGY, n, T, kappa),
        ambient_flux(ENERGY, n, T, kappa),
        rtol=1e-9,
        atol=0,
    )


# --- on a charged body


@anytime
@given(density, temperature, index, st.floats(-0.95, 3.0))
def test_a_charged_body_sees_a_kappa_plasma_of_another_width(n, T, kappa, charge):
    width = T * (kappa - 1.5)
    u = charge * width if charge < 0 else charge * 20
    body = width - u
    if body <= 0.01 * width:
        return  # attracting more than the plasma's own width: no kappa plasma any more
    energy = np.maximum(u, 0) + np.array([3.0, 60.0, 4000.0])
    flux = measured_flux(energy, u, n, T, kappa)
    log_c = np.log(flux / energy) + (kappa + 1) * np.log(body + energy)
    assert np.ptp(log_c) < 1e-9 * np.abs(log_c).max() + 1e-9
    assert ambient_moments(log_c[0], body, kappa, u) == pytest.approx((n, T), rel=1e-6)


@anytime
@given(density, temperature, index, st.floats(0.01, 0.99))
def test_density_and_temperature_on_a_negative_body(n, T, kappa, depth):
    u = -depth * T * (kappa - 1.5) / 2
    body_width = T * (kappa - 1.5) - u
    flux = measured_flux(100.0, u, n, T, kappa)
    n_body, T_body = ambient_moments(
        math.log(flux / 100) + (kappa + 1) * math.log(body_width + 100),
        body_width,
        kappa,
        0.0,
    )
    assert T_body == pytest.approx(T - u / (kappa - 1.5), rel=1e-9)
    assert n == pytest.approx(n_body * (T / T_body) ** (0.5 - kappa), rel=1e-6)


def test_no_moments_where_the_potential_exceeds_the_width():
    assert (
        np.isnan(ambient_moments(10.0, 30.0, 3.0, -30.0)).all()
        and np.isnan(ambient_moments(10.0, 30.0, 3.0, -31.0)).all()
    )
    assert np.isfinite(ambient_moments(10.0, 30.0, 3.0, -29.9)).all()


# --- the band of a channel


@pytest.mark.parametrize("shape", ["log", "linear"])
@pytest.mark.parametrize("number", [3, 11, 41])
def test_band_weights_sum_to_one_and_peak_in_the_middle(shape, number):
    offset, weight = response_nodes(Response(shape=shape), number)
    assert len(offset) == len(weight) == number and (np.diff(offset) > 0).all()
    assert (
        weight.sum() == pytest.approx(1, abs=1e-12)
        and weight.argmax() == number // 2
        and np.allclose(weight, weight[::-1])
    )
    assert abs(offset[number // 2]) < 1e-12 and offset[0] < 0 < offset[-1]


@pytest.mark.parametrize("shape", ["log", "linear"])
@pytest.mark.parametrize("fwhm", [0.3, 0.5])
def test_band_is_as_wide_as_it_says(shape, fwhm):
    offset, weight = response_nodes(Response(fwhm=fwhm, shape=shape), 4001)
    above = np.exp(offset[weight >= weight.max() / 2])
    assert above[-1] - above[0] == pytest.approx(
        fwhm, rel=0.02
    )  # in ln E it is that of a sinh, 1 % more


@pytest.mark.parametrize("cut", [2.0, 2.5, 3.0])
@pytest.mark.parametrize("number", [11, 21])
def test_the_spread_of_the_band_does_not_depend_on_the_number_of_nodes(cut, number):
    spread = []
    for nodes in (number, 4001):
        offset, weight = response_nodes(Response(cut=cut), nodes)
        spread.append(weight @ offset**2)
    assert spread[0] == pytest.approx(spread[1], rel=0.01)


def test_no_band_is_one_node():
    offset, weight = response_nodes(Response(fwhm=0.0))
    assert offset.tolist() == [0] and weight.tolist() == [1]


def test_an_unknown_band_is_refused():
    with pytest.raises(ValueError, match="'box'"):
        Response(shape="box")


def folded(width, kappa, u=0.0, log_c=3.0, response=Response()):
    out = np.empty((3, len(ENERGY)))
    folded_spectrum(ENERGY, log_c, width, kappa, u, *response_nodes(response), *out)
    return out


def test_band_of_no_width_gives_the_spectrum_itself():
    assert np.allclose(
        folded(50.0, 3.0, response=Response(fwhm=0.0))[0],
        ENERGY * math.exp(3.0) * (50 + ENERGY) ** -4.0,
        rtol=1e-12,
    )


def test_band_raises_a_power_law_by_its_closed_form():
    offset, weight = response_nodes()
    tail = folded(0.1, 4.0)[0] / folded(0.1, 4.0, response=Response(fwhm=0.0))[0]
    assert (
        np.allclose(tail, weight @ np.exp(-4.0 * offset), rtol=0.02)
        and (tail > 1.2).all()
    )


@pytest.mark.parametrize("u", [0.0, 30.0])
def test_band_derivatives_are_those_of_finite_differences(u):
    width, kappa, h = 80.0, 3.4, 1e-4
    _, by_width, by_kappa = folded(width, kappa, u)
    assert np.allclose(
        by_width,
        (folded(width + h, kappa, u)[0] - folded(width - h, kappa, u)[0]) / (2 * h),
        rtol=1e-5,
    )
    assert np.allclose(
        by_kappa,
        (folded(width, kappa + h, u)[0] - folded(width, kappa - h, u)[0]) / (2 * h),
        rtol=1e-5,
    )


def test_nothing_below_the_spacecraft_enters_the_band():
    u = 45.0
    flux = folded(80.0, 3.0, u)[0]
    uncut = folded(80.0, 3.0)[0]
    upper = ENERGY * np.exp(response_nodes()[0][-1])
    lower = ENERGY * np.exp(response_nodes()[0][0])
    assert (flux[upper <= u] == 0).all() and np.array_equal(
        flux[lower > u], uncut[lower > u]
    )
    cut = (lower <= u) & (u < upper)
    assert cut.any() and (flux[cut] < uncut[cut]).all() and (flux[cut] > 0).all()


@pytest.mark.parametrize(
    "u, expected",
    [(0.0, True), (-50.0, True), (20.0, True), (37.0, False), (50.0, False)],
)
def test_a_channel_near_the_spacecrafts_potential_is_not_used(u, expected):
    assert usable_energy(60.0, u) == expected
    assert not usable_energy(math.nan, u)


# --- counts


@pytest.mark.parametrize("octave", range(5, 15))
def test_midpoint_is_the_mean_of_all_counts_with_the_same_code(octave):
    true = np.arange(2**octave, 2 ** (octave + 1))
    code = log_compress(true)
    for value in np.unique(code):
        assert code_midpoint(float(value)) == true[code == value].mean()


def test_small_counts_are_exact():
    assert np.array_equal(code_midpoint(np.arange(32.0)), np.arange(32.0))


def test_negative_flux_is_no_count_and_missing_flux_stays_missing():
    flux = np.full((1, 15, 88), -3.0)
    flux[0, 2, 5] = np.nan
    counts = cell_counts(ENERGY[None], flux, FACTOR)
    assert (
        np.isnan(counts[0, 2, 5])
        and np.isnan(counts).sum() == 1
        and np.nansum(counts) == 0
    )


def test_only_cells_that_move_to_the_moon_are_summed():
    counts, mu = np.zeros((1, 15, 88)), np.full((1, 15, 88), -0.5)
    mu[0, :, :10], mu[0, :, 10:13], mu[0, :, 13] = 0.9, INCIDENT_MU - 1e-6, np.nan
    counts[0, :, :14], counts[0, 4, 3] = 7.0, np.nan
    sums = incident_counts(ENERGY[None], counts, mu, FACTOR, background=2.0)
    cells = np.arange(10)
    for row in (0, 4):
        used = cells[cells != 3] if row == 4 else cells
        assert sums.counts[0, row] == 7 * len(used)
        assert sums.exposure[0, row] == pytest.approx(FACTOR[used].sum() * ENERGY[row])
        assert sums.background[0, row] == pytest.approx(
            2.0 * FACTOR[used].sum() / RING_FACTOR
        )


def test_a_sweep_without_connection_uses_all_cells():
    counts, mu = np.ones((2, 15, 88)), np.full((2, 15, 88), np.nan)
    mu[1, 3, 0] = 1.0
    sums = incident_counts(np.stack([ENERGY, ENERGY]), counts, mu, FACTOR)
    assert (sums.counts[0] == 88).all() and sums.counts[1].sum() == 1
    assert sums.background[0] == pytest.approx(8 * NOMINAL_BACKGROUND)


def test_cells_with_known_gain_give_the_true_flux():
    gain = np.exp(np.random.default_rng(0).normal(0, 0.2, 88))
    counts = np.broadcast_to(3.0 * gain * FACTOR, (1, 15, 88)) * ENERGY[:, None]
    mu = np.where(np.arange(88) % 3 == 0, 0.8, -0.8) * np.ones((1, 15, 1))
    assert np.allclose(
        incident_counts(ENERGY[None], counts, mu, FACTOR, 0.0, gain=gain).flux, 3.0
    )
    assert not np.allclose(
        incident_counts(ENERGY[None], counts, mu, FACTOR, 0.0).flux, 3.0, rtol=0.01
    )


def test_flux_is_that_of_the_simulated_plasma():
    truth = Truth.of(6, u_sc=0.0, b=fields_of(6))
    sums = spectra(truth)
    offset, weight = response_nodes(Response(cut=2.4), 201)
    expected = ambient_flux(ENERGY[:, None] * np.exp(offset), 5e6, 12.0, 4.5) @ weight
    assert np.allclose(sums.flux, expected, rtol=0.02)


# --- fits


@pytest.mark.parametrize("u", [-30.0, 0.0, 8.0])
@pytest.mark.parametrize("name", PLASMAS)
def test_the_plasma_comes_back_without_noise(name, u):
    n, T, kappa = PLASMAS[name]
    fit = fit_kappa(
        spectra(Truth.of(4, n=n, T=T, kappa=kappa, u_sc=u, b=fields_of(4))),
        u,
        Response(cut=SimulationOptions().response_cut),
    )
    assert (
        np.allclose(fit.density, n, rtol=0.02)
        and np.allclose(fit.temperature, T, rtol=0.01)
        and np.allclose(fit.kappa, kappa, atol=0.05)
    )
    assert not fit.flags.any() and (fit.misfit < 0.01).all()


def test_the_published_case_comes_back_to_a_per_mille():
    n, kappa = 1e6, 5.0
    T = 0.5 * M_ELECTRON * 1e7**2 * kappa / (kappa - 1.5) / E_CHARGE
    energy = np.geomspace(2e4, 20.0, 15)
    fit = fit_kappa(
        ideal(kappa_flux(energy, n, T, kappa), energy), 0.0, Response(fwhm=0.0)
    )
    assert (fit.density[0], fit.temperature[0], fit.kappa[0]) == pytest.approx(
        (n, T, kappa), rel=1e-3
    )


@pytest.mark.parametrize("name", PLASMAS)
def test_noisy_plasmas_come_back_within_their_errors(name):
    n, T, kappa = PLASMAS[name]
    truth = Truth.of(100, n=n, T=T, kappa=kappa, b=fields_of(100))
    fit = fit_kappa(spectra(truth, noise=True, background=NOMINAL_BACKGROUND), 5.0)
    assert not fit.flags.any() and 0.05 < np.median(fit.misfit) < 1.5
    off = {
        "density": fit.density / n - 1,
        "temperature": fit.temperature / T - 1,
        "kappa": fit.kappa - kappa,
    }
    for name, distance in off.items():
        error = getattr(fit, f"{name}_error")
        assert abs(np.median(distance)) < 0.05, name
        assert (np.abs(distance) < 3 * error).mean() > 0.97 and np.std(
            distance
        ) > 0.05 * np.median(error), name


@pytest.mark.parametrize("true_background", [1.0, 1.5, 3.0])
def test_a_background_other_than_expected_is_found(true_background):
    sums = spectra(
        Truth.of(60, n=2e6, b=fields_of(60)),
        noise=True,
        background=true_background * NOMINAL_BACKGROUND,
    )
    fit = fit_kappa(replace(sums, background=sums.background / true_background), 5.0)
    assert np.median(fit.background_factor) == pytest.approx(true_background, rel=0.1)
    assert np.median(fit.density) == pytest.approx(2e6, rel=0.03) and np.median(
        fit.temperature
    ) == pytest.approx(12.0, rel=0.03)


def test_empty_channels_do_not_dominate():
    n, T, kappa = 3e4, 8.0, 6.0  # so thin and cold that most channels count nothing
    whole = spectra(
        Truth.of(60, n=n, T=T, kappa=kappa, u_sc=0.0, b=fields_of(60)), noise=True
    )
    populated = whole.counts > 0
    assert 0.3 < populated.mean() < 0.8
    without = replace(whole, exposure=np.where(populated, whole.exposure, 0.0))
    fits = fit_kappa(whole), fit_kappa(without)
    for name in ("density", "temperature"):
        a, b = (getattr(fit, name) for fit in fits)
        assert np.median(np.abs(a / b - 1)) < 0.1, name
    assert (
        abs(np.median(fits[0].density) / n - 1) < 0.15
        and abs(np.median(fits[0].temperature) / T - 1) < 0.1
    )


@pytest.mark.parametrize(
    "n, T, kappa", [(3e5, 400.0, 15.0), (3e5, 60.0, 30.0), (5e6, 12.0, 30.0)]
)
def test_a_nearly_maxwellian_plasma_comes_back(n, T, kappa):
    fit = fit_kappa(
        spectra(Truth.of(4, n=n, T=T, kappa=kappa, u_sc=0.0, b=fields_of(4)))
    )
    assert (
        np.allclose(fit.density, n, rtol=0.05)
        and np.allclose(fit.temperature, T, rtol=0.05)
        and (fit.misfit < 3).all()
    )


# --- fits: invariants


def test_a_fit_scales_with_density_at_equal_counts():
    sums = spectra(Truth.of(8, b=fields_of(8)), noise=True)
    one, ten = (
        fit_kappa(sums, 5.0),
        fit_kappa(replace(sums, exposure=sums.exposure / 10), 5.0),
    )
    assert np.allclose(ten.density, 10 * one.density, rtol=1e-3)
    assert np.allclose(ten.temperature, one.temperature, rtol=1e-3) and np.allclose(
        ten.kappa, one.kappa, rtol=1e-3
    )


@settings(deadline=None, max_examples=20)
@given(st.floats(0.3, 3.0))
def test_a_fit_scales_with_the_energy_axis(factor):
    flux = kappa_flux(ENERGY, 1e6, 80.0, 3.5)
    one, other = (
        fit_kappa(ideal(flux)),
        fit_kappa(ideal(flux, factor * ENERGY, 50 / factor)),
    )
    assert other.temperature[0] == pytest.approx(factor * one.temperature[0], rel=2e-3)
    assert other.kappa[0] == pytest.approx(one.kappa[0], rel=2e-3)


def test_the_order_of_channels_does_not_matter():
    sums = spectra(Truth.of(8, b=fields_of(8)), noise=True)
    order = np.random.default_rng(0).permutation(15)
    one, other = (
        fit_kappa(sums, 5.0),
        fit_kappa(
            IncidentCounts(
                *(
                    a[:, order].copy() if a.ndim == 2 else a
                    for a in arrays(sums).values()
                )
            ),
            5.0,
        ),
    )
    for name in ("density", "temperature", "kappa", "kappa_error"):
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=1e-3), name


def test_a_negative_spacecraft_shifts_the_plasma_and_not_the_fit():
    sums = spectra(Truth.of(6, T=60.0, n=3e5, u_sc=-30.0, b=fields_of(6)))
    one, other = fit_kappa(sums, 0.0), fit_kappa(sums, -30.0)
    assert np.array_equal(one.params, other.params)
    assert (
        np.allclose(
            one.temperature - other.temperature, 30 / (one.kappa - 1.5), rtol=1e-9
        )
        and (one.density < other.density).all()
    )


def test_a_sweep_is_fitted_as_if_it_were_alone():
    truth = Truth.of(12, T=np.geomspace(8, 500, 12), u_sc=0.0, b=fields_of(12))
    sums = spectra(truth, noise=True)
    sums.counts[3], sums.counts[7, 4:] = 0.0, 0.0
    whole = arrays(fit_kappa(sums, np.linspace(-20, 20, 12)))
    for s in range(12):
        alone = arrays(
            fit_kappa(
                IncidentCounts(*(a[s : s + 1] for a in arrays(sums).values())),
                np.linspace(-20, 20, 12)[s],
            )
        )
        for name, values in whole.items():
            np.testing.assert_array_equal(alone[name][0], values[s], err_msg=name)


def test_the_input_is_left_alone():
    sums, u = (
        spectra(Truth.of(3, b=fields_of(3)), noise=True),
        np.array([5.0, 0.0, -10.0]),
    )
    before = {name: a.copy() for name, a in arrays(sums).items()}
    fit_kappa(sums, u)
    for name, a in arrays(sums).items():
        np.testing.assert_array_equal(a, before[name], err_msg=name)
    assert u.tolist() == [5.0, 0.0, -10.0]


# --- fits that cannot be done


@pytest.mark.parametrize(
    "damage",
    [
        "no energies",
        "no counts",
        "no exposure",
        "two channels",
        "all below the spacecraft",
    ],
)
def test_a_missing_spectrum_is_flagged_and_has_no_numbers(damage):
    sums, u = spectra(Truth.of(3, b=fields_of(3))), np.zeros(3)
    if damage == "no energies":
        sums.energy[1] = np.nan
    elif damage == "no counts":
        sums.counts[1] = 0
    elif damage == "no exposure":
        sums.exposure[1] = 0
    elif damage == "two channels":
        sums.exposure[1, :13] = 0
    else:
        u[1] = 2e4
    fit = fit_kappa(sums, u)
    assert fit.flags.tolist() == [0, int(Flag.KAPPA_FAILED), 0]
    for name in (
        "density",
        "temperature",
        "kappa",
        "density_error",
        "temperature_error",
        "kappa_error",
        "misfit",
    ):
        assert np.isfinite(getattr(fit, name)).tolist() == [True, False, True], name
    assert fit.background_factor[1] == 1


def test_no_sweeps_at_all():
    fit = fit_kappa(IncidentCounts(*(np.zeros((0, 15)) for _ in range(4)), np.zeros(0)))
    assert len(fit.density) == len(fit.flags) == len(fit.background_factor) == 0


@pytest.mark.parametrize("slope", [1.62, 2.0])
def test_a_power_law_without_a_core_ends_at_a_bound_and_says_so(slope):
    fit = fit_kappa(ideal(1e9 * ENERGY**-slope))
    assert fit.flags[0] == int(Flag.KAPPA_AT_BOUND)


def test_rows_that_are_missing_cost_nothing():
    sums = spectra(Truth.of(4, b=fields_of(4)))
    whole = fit_kappa(sums, 5.0)
    sums.energy[:, [2, 9]] = np.nan
    sums.counts[:, [2, 9]] = sums.exposure[:, [2, 9]] = 0
    short = fit_kappa(sums, 5.0)
    assert (
        np.allclose(short.density, whole.density, rtol=0.02)
        and np.allclose(short.temperature, whole.temperature, rtol=0.02)
        and not short.flags.any()
    )


# --- the Maxwellian limit


def test_maxwellian_has_its_moments_and_its_value_at_rest():
    n, T = 3e6, 25.0
    energy = T * np.geomspace(1e-8, 60, 20_001)
    omni = 4 * np.pi * 1e4 * maxwellian_flux(energy, n, T) / electron_speed(energy)
    assert integral(omni, energy) == pytest.approx(n, rel=1e-5)
    assert 2 / 3 * integral(omni * energy, energy) / n == pytest.approx(T, rel=1e-5)
    assert maxwellian_psd(0.0, n, T) == pytest.approx(
        n * (M_ELECTRON / (2 * math.pi * E_CHARGE * T)) ** 1.5, rel=1e-12
    )


@pytest.mark.parametrize("kappa", [200.0, 1000.0, 1e5])
def test_kappa_leaves_the_maxwellian_as_its_series_says(kappa):
    x = np.linspace(0, 8, 41)
    ratio = kappa_psd(40 * x, 1e6, 40.0, kappa) / maxwellian_psd(40 * x, 1e6, 40.0)
    assert np.allclose(
        kappa * np.log(ratio), 15 / 8 - 2.5 * x + x**2 / 2, atol=150 / kappa + 1e-3
    )


@pytest.mark.parametrize("kappa", [1e7, 1e12, math.inf])
def test_an_infinite_kappa_is_a_maxwellian(kappa):
    energy = np.linspace(0, 800, 81)
    assert np.allclose(
        kappa_flux(energy, 1e6, 40.0, kappa),
        maxwellian_flux(energy, 1e6, 40.0),
        rtol=2e-5,
        atol=0,
    )
    assert kappa_current(1e6, 40.0, kappa) == pytest.approx(
        1e6 * E_CHARGE * math.sqrt(40 * E_CHARGE / (2 * math.pi * M_ELECTRON)), rel=1e-6
    )


@pytest.mark.parametrize("n, T", [(3e5, 60.0), (3e5, 400.0)])
def test_a_maxwellian_costs_the_kappa_fit_a_few_per_cent_and_shows_in_the_misfit(n, T):
    fit = fit_kappa(sweep_of(lambda e: maxwellian_flux(e, n, T)))
    assert (
        fit.density[0] == pytest.approx(n, rel=0.1)
        and fit.temperature[0] == pytest.approx(T, rel=0.12)
        and fit.kappa[0] > 20
    )
    assert fit.misfit[0] > 1 or fit.temperature[0] == pytest.approx(T, rel=0.02)


# --- moments


def sweep_of(flux, u=0.0, size=1, seed=None):
    "Sweeps of an ambient spectrum with a nominal background; noisy where a seed is given."
    exposure = np.tile(0.17 * ENERGY, (size, 1))
    background = np.full((size, len(ENERGY)), 10.0)
    expected = seen_flux(flux, ENERGY, u, number=101) * exposure
    if seed is not None:
        rng = np.random.default_rng(seed)
        expected = (
            rng.poisson(expected * rng.normal(1, 0.01, expected.shape) + background)
            - background
        )
    return IncidentCounts(
        np.tile(ENERGY.astype(float), (size, 1)),
        expected + background,
        exposure,
        background,
        np.full(size, 0.7),
    )


@pytest.mark.parametrize("u", [-30.0, 0.0, 15.0])
@pytest.mark.parametrize("T", [5.0, 20.0, 80.0, 300.0, 1000.0])
def test_moments_of_a_kappa_plasma(T, u):
    n, kappa = 3e6, 3.8
    if u > (kappa - 1.5) * T:
        return  # the fit needs a positive width on the spacecraft
    got = moments(sweep_of(lambda e: kappa_flux(e, n, T, kappa), u), u)
    assert got.density[0] == pytest.approx(n, rel=0.03) and got.temperature[
        0
    ] == pytest.approx(T, rel=0.02)
    carried = integral(
        math.pi
        * 1e4
        * kappa_flux(wide := T * np.geomspace(1e-6, 1e7, 8001), n, T, kappa)
        * wide,
        wide,
    )
    assert got.energy_flux[0] == pytest.approx(carried, rel=0.03)


def test_the_measured_share_follows_the_energy_range():
    share = np.array(
        [
            moments(sweep_of(lambda e: kappa_flux(e, 3e6, T, 3.8))).measured[0]
            for T in (5.0, 20.0, 80.0, 300.0)
        ]
    )
    assert (
        (np.diff(share[:, 0]) > 0).all() and share[0, 0] < 0.05 and share[-1, 0] > 0.9
    )
    assert (share[:, 1] > share[:, 0]).all()


def test_moments_scatter_as_their_errors_say():
    n, T, kappa = 3e5, 80.0, 3.5
    got = moments(
        sweep_of(lambda e: kappa_flux(e, n, T, kappa), -10.0, 150, seed=4), -10.0
    )
    for value, error, truth in (
        (got.density, got.density_error, n),
        (got.temperature, got.temperature_error, T),
    ):
        assert abs(np.median(value) / truth - 1) < 0.02
        assert 0.6 < np.std(value / truth - 1) / np.median(error) < 1.4


def test_moments_of_a_measured_plasma_do_not_need_the_right_model():
    n, T = 3e5, 400.0
    sweep = sweep_of(lambda e: maxwellian_flux(e, n, T))
    assert moments(sweep).density[0] == pytest.approx(n, rel=0.015) and moments(
        sweep
    ).temperature[0] == pytest.approx(T, rel=0.015)


def test_moments_keep_failures_and_take_a_known_fit():
    sweep = sweep_of(lambda e: kappa_flux(e, 1e6, 50.0, 4.0), size=2)
    sweep.counts[1] = 0.0
    got = moments(sweep, fit=fit_kappa(sweep))
    assert (
        np.isfinite(got.density).tolist() == [True, False]
        and got.flags[1] == Flag.KAPPA_FAILED
    )
    assert np.array_equal(got.density, moments(sweep).density, equal_nan=True)


# --- which model

SHAPES = {
    "maxwellian": (4e5, 60.0),
    "kappa": (4e5, 60.0, 3.5),
    "two-temperature": (4e5, 50.0, 2e4, 350.0),
}


@pytest.mark.parametrize("u", [-20.0, 0.0, 10.0])
@pytest.mark.parametrize("model", SHAPES)
def test_the_right_model_comes_back_without_noise(model, u):
    truth = SHAPES[model]
    got = compare_models(sweep_of(lambda e: MODELS[model](e, *truth), u), u)
    assert got.chosen.tolist() == [model]
    assert getattr(got, model.replace("-", "_"))[0] == pytest.approx(truth, rel=0.03)
    total = truth[0] + (truth[2] if len(truth) == 4 else 0)
    assert got.density[0, got.best[0]] == pytest.approx(total, rel=0.03)


@pytest.mark.parametrize("model", SHAPES)
def test_the_right_model_is_mostly_chosen_with_noise(model):
    got = compare_models(
        sweep_of(lambda e: MODELS[model](e, *SHAPES[model]), 0.0, 25, seed=6)
    )
    assert (got.chosen == model).mean() >= 0.8
    values = np.median(getattr(got, model.replace("-", "_")), axis=0)
    assert values == pytest.approx(SHAPES[model], rel=0.1)


def test_a_mean_temperature_is_that_of_the_pressure():
    got = compare_models(
        sweep_of(lambda e: MODELS["two-temperature"](e, *SHAPES["two-temperature"]))
    )
    assert got.temperature[0, 2] == pytest.approx(
        (4e5 * 50 + 2e4 * 350) / 4.2e5, rel=0.03
    )


def test_no_model_without_a_spectrum():
    sweep = sweep_of(lambda e: kappa_flux(e, 1e6, 50.0, 4.0), size=2)
    sweep.counts[0] = 0.0
    got = compare_models(sweep)
    assert (
        got.chosen.tolist()[0] == ""
        and got.best.tolist()[0] == -1
        and np.isnan(got.density[0]).all()
        and got.chosen[1] == "kappa"
    )
