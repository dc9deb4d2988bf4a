"""The Lunar Prospector day shows what the results hold, and nothing else."""

import numpy as np
import pytest
from drawn_panels import assert_legible, images

from lunar_potential.results import read_results, write_results
from lunar_potential.view.globe.footpoints import UNTRUSTED
from lunar_potential.view.spectrogram.overview import (
    energy_spectrum,
    lp_day_overview,
    pitch_spectrum,
)

DAY = "1998-06-14"


@pytest.fixture(scope="module")
def overview(er, results):
    return lp_day_overview(er, results, DAY, DAY)


@pytest.fixture(scope="module")
def of_day(results):
    start = results.spec["time_start"].astype("datetime64[s]").astype("datetime64[D]")
    return results.select(start == np.datetime64(DAY)).spec


def test_overview_shows_the_day_and_nothing_else(overview, of_day):
    energy, pitch, sun = images(overview)
    assert len(energy.cells.start) == len(of_day["time_start"]) == 30
    assert np.allclose(energy.cells.start, of_day["time_start"]) and np.allclose(
        energy.cells.end, of_day["time_end"] + 5
    )
    between = (of_day["time_end"][:-1] + of_day["time_start"][1:]) / 2
    assert all(
        (image.cells.record_at(between) == -1).all() for image in (energy, pitch, sun)
    )
    assert len({ax.get_xlim() for ax in overview.axes[:6]}) == 1


def test_overview_panels_hold_what_the_results_hold(overview, of_day, er, results):
    field, craft, surface = overview.axes[2:5]

    def known(line):
        return line.get_ydata()[np.isfinite(line.get_ydata())]

    b = er.padded()["b"][np.isin(results.spec["time_start"], of_day["time_start"])]
    assert np.allclose(known(field.lines[0]), np.linalg.norm(b, axis=1))
    assert np.allclose(
        known(craft.lines[-1]),
        of_day["u_spacecraft"][np.isfinite(of_day["u_spacecraft"])],
    )
    trusted = np.isfinite(of_day["u_surface"]) & (
        (of_day["flags"].astype(int) & int(UNTRUSTED)) == 0
    )
    assert trusted.any() and np.allclose(
        surface.lines[-1].get_ydata(), of_day["u_surface"][trusted]
    )
    bars = np.array(
        [segment[:, 1] for segment in surface.collections[0].get_segments()]
    )
    ends = np.clip(
        np.stack([of_day["u_surface_lower_95"], of_day["u_surface_upper_95"]], 1)[
            trusted
        ],
        *surface.get_ylim(),
    )
    assert np.allclose(bars, ends)
    lit = images(overview)[2].cells.values
    for column, name in enumerate(("projection_in_sun", "spacecraft_in_sun")):
        assert np.array_equal(np.nan_to_num(lit[:, column], nan=-1), of_day[name])


def test_overview_of_results_from_a_file(er, results, tmp_path, overview):
    write_results(results, tmp_path / "run.npz")
    again = lp_day_overview(er, read_results(tmp_path / "run.npz"), DAY, DAY)
    for one, other in zip(images(overview), images(again)):
        np.testing.assert_array_equal(one.cells.values, other.cells.values)


def test_overview_errors(er, results):
    with pytest.raises(ValueError, match="no sweep from 2001-01-01"):
        lp_day_overview(er, results, "2001-01-01")
    other = results.select(np.zeros(results.n_sweeps, bool))
    with pytest.raises(ValueError, match="is in the results of"):
        lp_day_overview(er, other)


def test_text_does_not_overlap(er, results):
    assert_legible(lp_day_overview(er, results, "1998-06-14", "1998-06-14"))


def test_means_over_directions_and_pitch_angles():
    theta = np.repeat(
        [78.75, 56.25, 33.75, 11.25, -11.25, -33.75, -56.25, -78.75],
        [4, 8, 16, 16, 16, 16, 8, 4],
    )
    flux = np.full((2, 3, 88), 7.0)
    flux[:, :, ::3] = np.nan
    assert (
        np.allclose(energy_spectrum(flux, theta), 7)
        and np.isnan(energy_spectrum(flux * np.nan, theta)).all()
    )
    mu = np.broadcast_to(np.cos(np.radians(np.linspace(1, 179, 88))), flux.shape)
    shape = np.where(mu < 0, 0.25, 1.0) * np.array([1.0, 50, 3000])[:, None]
    found = pitch_spectrum(np.tile([300.0, 500, 5000], (2, 1)), shape * flux, mu, theta)
    assert np.allclose(found[:, :6], 1) and np.allclose(found[:, 6:], 0.25)
    assert np.isnan(
        pitch_spectrum(np.tile([300.0, 500, 5000], (2, 1)), flux, mu * np.nan, theta)
    ).all()
