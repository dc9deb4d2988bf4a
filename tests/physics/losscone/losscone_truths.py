"Simulated sweeps with known surface potential, and their fits, for the tests here."

from dataclasses import fields

import numpy as np
from hypothesis import settings

from lunar_potential.data.er.counts import count_factor
from lunar_potential.physics.losscone.cells import Sweep, make_cells
from lunar_potential.physics.losscone.fitter import LossConeFitter
from lunar_potential.physics.response import Response
from lunar_potential.stages import moonward_field
from lunar_potential.synthetic.instrument import THETA, SimulationOptions
from lunar_potential.synthetic.sweeps import Truth, simulate_sweeps

FACTOR = count_factor(THETA)
CELLS = make_cells(THETA, FACTOR)
SOLAR_WIND = dict(n=5e6, T=12.0, kappa=4.5, u_sc=5.0)
WAKE = dict(n=1e6, T=60.0, kappa=3.2, u_sc=-30.0)
LOBE = dict(n=8e4, T=90.0, kappa=3.0, u_sc=20.0)
PLASMA_SHEET = dict(n=3e5, T=400.0, kappa=4.0, u_sc=2.0)
PLASMAS = {
    "solar wind": SOLAR_WIND,
    "wake": WAKE,
    "lobe": LOBE,
    "plasma sheet": PLASMA_SHEET,
}
SAME_BAND = dict(
    response=Response(cut=SimulationOptions().response_cut), nodes=41
)  # the simulator's own, finely divided
anytime = settings(deadline=None)  # a busy machine is no failure


def directions(size, seed=0):
    "Random unit vectors."
    v = np.random.default_rng(seed).normal(size=(size, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def sweeps_of(truth, noise=False, seed=0, **options):
    "Simulated sweeps; by default without gain errors, background and missing cells."
    return simulate_sweeps(
        truth,
        SimulationOptions(
            **{"gain_error": 0.0, "background": 0.0, "flag_rate": 0.0, **options}
        ),
        seed=seed,
        noise=noise,
    )


def fit(
    truth,
    sweeps,
    method="likelihood",
    u_spacecraft=None,
    u_error=0.0,
    gain=None,
    background=0.0,
    **settings,
):
    u_spacecraft = truth.u_sc if u_spacecraft is None else u_spacecraft
    arrays = (
        sweeps.energy,
        sweeps.flux,
        sweeps.phi,
        CELLS,
        moonward_field(truth.b, truth.polarity),
    )
    return LossConeFitter(method, **settings).fit(
        *arrays, u_spacecraft, u_error, gain, background
    )


def sweep_of(truth, sweeps, s):
    "Sweep s as the fit reads it."
    field = moonward_field(truth.b, truth.polarity)[s]
    arrays = sweeps.energy[s], sweeps.flux[s], sweeps.phi[s]
    return Sweep(*arrays, CELLS, field, truth.u_sc[s])


def same_fits(one, other, rows=slice(None), message=""):
    for f in fields(one):
        np.testing.assert_array_equal(
            getattr(one, f.name),
            getattr(other, f.name)[rows],
            err_msg=f"{f.name} {message}",
        )


def grid_of_truths(plasma, seed=0, **values):
    "U from -300 to 10 V and field ratios from 0.2 to 0.9, the field ever elsewhere."
    u, ratio = (
        a.ravel()
        for a in np.meshgrid(
            [-300.0, -150, -80, -30, -10, 0, 10], [0.2, 0.35, 0.5, 0.9]
        )
    )
    return Truth.of(
        len(u),
        **plasma,
        u_surface=u,
        bs_over_bm=ratio,
        b=directions(len(u), seed),
        **values,
    )


def make_noisy():
    truth = Truth.of(
        16,
        **WAKE,
        u_surface=np.linspace(-250, 5, 16),
        bs_over_bm=np.linspace(0.25, 0.9, 16),
        b=5 * directions(16, 3),
        beam_amp=np.linspace(0, 1, 16),
    )
    return truth, sweeps_of(truth, noise=True, gain_error=0.04, background=10.0)


def make_mixed():
    "Sweeps of every kind, and the spacecraft potentials to use."
    truth = Truth.of(
        18,
        **WAKE,
        u_surface=np.tile([-200.0, -60.0, 5.0], 6),
        bs_over_bm=np.repeat([0.3, 0.6, 1.1], 6),
        b=directions(18, 5),
        beam_amp=np.tile([0.0, 1.0], 9),
    )
    sweeps = sweeps_of(truth, noise=True, background=10.0, gain_error=0.04)
    truth.polarity[[2, 11]] = 0  # not connected
    sweeps.energy[4, 9:] = np.nan  # a short sweep
    sweeps.flux[5] = sweeps.flux[5].mean()  # nothing to see
    sweeps.flux[6, :, ::3] = np.nan  # masked cells
    sweeps.flux[7, 2:] = 0  # hardly a count
    sweeps.phi[8] = np.nan  # no directions
    u_spacecraft = truth.u_sc.copy()
    u_spacecraft[9] = np.nan  # unknown
    return truth, sweeps, u_spacecraft


def make_many():
    "Three hundred sweeps with noise, and their fits."
    rng = np.random.default_rng(4)
    parts = []
    for seed, plasma in enumerate((SOLAR_WIND, WAKE, PLASMA_SHEET)):
        truth = Truth.of(
            100,
            **plasma,
            u_surface=-np.exp(rng.uniform(np.log(8), np.log(400), 100)),
            bs_over_bm=rng.uniform(0.15, 0.95, 100),
            b=directions(100, seed),
            backscatter=rng.uniform(0.03, 0.1, 100),
            beam_amp=rng.uniform(0, 1.5, 100) * (rng.random(100) < 0.5),
        )
        sweeps = sweeps_of(truth, noise=True, seed=seed, background=10.0)
        parts.append(
            (truth, sweeps, fit(truth, sweeps, background=10 * 2.5 / 8, scatter=0.0135))
        )
    return parts
