"Known plasmas: spectra, summed counts and charged bodies, for tests of physics."

import math
from dataclasses import astuple, fields

import numpy as np

from lunar_potential.data.er.counts import count_factor
from lunar_potential.physics.currents import (
    ChargingModel,
    landing_current,
    net_current,
    secondary_current,
)
from lunar_potential.physics.pitch import cell_pitch
from lunar_potential.physics.response import (
    IncidentCounts,
    cell_counts,
    incident_counts,
    seen_flux,
)
from lunar_potential.synthetic.instrument import THETA, SimulationOptions, energy_table
from lunar_potential.synthetic.plasma import (
    measured_flux,
    shaded_potential,
    sunlit_potential,
)
from lunar_potential.synthetic.sweeps import simulate_sweeps

FACTOR = count_factor(THETA)
ENERGY = energy_table()


def integral(values, energy):
    "Over energy, on a logarithmic axis."
    return np.trapezoid(values * energy, np.log(energy))


def fields_of(size, seed=1):
    return 8 * np.random.default_rng(seed).normal(size=(size, 3))


def spectra(truth, noise=False, background=0.0, seed=0):
    "Incident counts of simulated sweeps; with noise and code steps, or without both."
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


def sweep_of(flux, u=0.0, size=1, seed=None):
    "Sweeps of an ambient spectrum with a background; noisy where a seed is given."
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


MODEL = ChargingModel()


def on_body(n, T, kappa, u):
    "ln C, ln W_m and ln(kappa - 3/2) of the spectrum that a body at `u` measures."
    width, energy = T * (kappa - 1.5) - u, 100.0 + max(u, 0)
    log_c = math.log(measured_flux(energy, u, n, T, kappa) / energy) + (
        kappa + 1
    ) * math.log(width + energy)
    return np.array([log_c, math.log(width), math.log(kappa - 1.5)])


def dark(T, kappa):
    "Potential in shade according to the simulator."
    return shaded_potential(np.array([float(T)]), np.array([float(kappa)]))[0]


def sunlit(n, T, kappa):
    "Potential in sunlight according to the simulator."
    return sunlit_potential(
        np.array([float(n)]), np.array([float(T)]), np.array([float(kappa)])
    )[0]


def net(u, lit, params, model=MODEL):
    "Net current at `u`, as the search for roots sees it."
    width, kappa = math.exp(params[1]), 1.5 + math.exp(params[2])
    released = secondary_current(
        params[0], width, kappa, model.yield_max, model.yield_energy
    )
    return net_current(u, lit, params[0], width, kappa, released, astuple(model))


def mean_yield(T, kappa):
    width = T * (kappa - 1.5)
    log_c = (kappa + 1) * math.log(width)
    return secondary_current(log_c, width, kappa, 1.5, 500.0) / landing_current(
        log_c, width, kappa
    )
