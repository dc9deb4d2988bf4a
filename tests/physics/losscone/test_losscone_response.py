"Loss cone: the response that the sweeps choose."

from dataclasses import replace

import numpy as np
import pytest
from losscone_truths import CELLS, PLASMA_SHEET, directions, sweeps_of

from lunar_potential.physics.losscone.cells import Sweep
from lunar_potential.physics.losscone.fitter import LossConeFitter
from lunar_potential.physics.losscone.response import choose_response, score_responses
from lunar_potential.physics.response import Response, response_nodes
from lunar_potential.stages import moonward_field
from lunar_potential.synthetic.instrument import SimulationOptions
from lunar_potential.synthetic.sweeps import Truth


@pytest.fixture(scope="module")
def sheet():
    "Truths for the choice of the response."
    rng = np.random.default_rng(0)
    return Truth.of(
        60,
        **PLASMA_SHEET,
        u_surface=rng.uniform(-400, -20, 60),
        bs_over_bm=rng.uniform(0.2, 0.9, 60),
        b=directions(60),
    )


def chosen_for(truth, field, **made):
    sweeps = sweeps_of(truth, noise=True, **made)
    return choose_response(
        sweeps.energy,
        sweeps.flux,
        sweeps.phi,
        CELLS,
        field,
        truth.u_sc,
        0.0135,
        np.ones(88),
        np.zeros(len(truth)),
    )


def spread(response, number=11):
    "Standard deviation of the band, as divided into nodes."
    offset, weight = response_nodes(response, number)
    return np.sqrt(weight @ offset**2 - (weight @ offset) ** 2)


@pytest.mark.parametrize(
    "made, true",
    [
        ({}, Response()),
        (dict(response_shape="lin"), Response(shape="linear")),
        (dict(response_fwhm=0.42), Response(0.42)),
        (dict(response_fwhm=0.58), Response(0.58)),
        (dict(response_cut=1.8), Response(cut=1.8)),
        (dict(response_cut=3.2), Response(cut=3.2)),
    ],
)
def test_the_sweeps_choose_the_response_they_were_measured_with(sheet, made, true):
    true = (
        true
        if "response_cut" in made
        else replace(true, cut=SimulationOptions().response_cut)
    )
    chosen = chosen_for(sheet, moonward_field(sheet.b, sheet.polarity), **made)
    assert chosen.shape == true.shape and spread(chosen) == pytest.approx(
        spread(true, 4001), rel=0.07
    )  # width and cut make up for each other
    assert "response_cut" in made or chosen.fwhm == pytest.approx(true.fwhm, abs=0.05)


def test_the_choice_of_the_response_takes_the_field_row_by_row(sheet):
    b = moonward_field(sheet.b, sheet.polarity)
    assert chosen_for(
        sheet, np.repeat(b[:, None], 15, axis=1), response_fwhm=0.42
    ) == chosen_for(sheet, b, response_fwhm=0.42)


def test_scores_are_least_for_the_true_response_and_missing_where_nothing_is_known(
    sheet,
):
    sweeps, widths = sweeps_of(sheet, noise=True), (0.35, 0.5, 0.7)
    data = (
        sweeps.energy,
        sweeps.flux,
        sweeps.phi,
        CELLS,
        moonward_field(sheet.b, sheet.polarity),
        sheet.u_sc,
    )
    first = LossConeFitter(scatter=0.0135).fit(*data)
    known = np.stack(
        [first.u_surface, first.bs_over_bm, first.backscatter, first.beam_amp], axis=1
    )
    known[7, 0] = np.nan
    score = score_responses(
        Sweep(*data, np.ones(88), np.zeros(60)),
        known,
        [Response(fwhm=w) for w in widths],
        0.0135,
    )
    assert (
        score.shape == (60, 3)
        and np.isnan(score[7]).all()
        and np.isfinite(np.delete(score, 7, axis=0)).all()
    )
    assert np.nanmean(score, axis=0).argmin() == 1
