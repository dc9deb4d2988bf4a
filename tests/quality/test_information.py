"""The information limit of a sweep, and the fit beside it."""

import dataclasses

import numpy as np
import pytest

from lunar_potential.physics.losscone.joint import BEAM_HEIGHT, LOG_RATIO, PRIOR, YIELD
from lunar_potential.physics.losscone.population import NOMINAL
from lunar_potential.quality.study.ablation import (
    INGREDIENTS,
    STIFF,
    ablation,
    plot_ablation,
    prior_without,
)
from lunar_potential.quality.study.information import (
    UNKNOWN,
    expected_sweeps,
    information_limit,
    known_day,
    limit_row,
)
from lunar_potential.synthetic.draws import draw_sweeps
from lunar_potential.synthetic.instrument import SimulationOptions
from lunar_potential.synthetic.scenario import SCENARIOS
from lunar_potential.synthetic.truth import Truth

MERGED = SCENARIOS["control"].instrument


@pytest.fixture(scope="module")
def truth():
    return draw_sweeps("control", 40, seed=3)


def limit(truth, scale=1.0, **changes):
    options = dataclasses.replace(MERGED, count_scale=scale)
    return information_limit(truth, options, **changes)


def test_more_counts_lower_the_limit(truth):
    few, usual, many = (limit(truth, scale) for scale in (0.1, 1.0, 10.0))
    assert (many < usual).all() and (usual < few).all()


def test_counting_error_falls_as_the_root_of_the_counts(truth):
    one, four = (
        limit(truth, scale, scatter=0.0, unknown=UNKNOWN[:1], model_errors=False)
        for scale in (25.0, 100.0)
    )
    assert np.median(one / four) == pytest.approx(2, rel=0.05)


def test_every_unknown_raises_the_limit(truth):
    usual = limit(truth)
    told = limit(truth, unknown=tuple(q for q in UNKNOWN if q != LOG_RATIO))
    assert (told < usual).all()
    assert (limit(truth, model_errors=False) < usual).all()


def test_no_cone_has_no_limit():
    lost = Truth.of(2, connected=np.array([True, False]))
    found = information_limit(lost)
    assert found[0] > 0 and np.isnan(found[1])


def test_background_is_part_of_expected_counts():
    quiet, loud = (
        expected_sweeps(Truth.of(1, background=b), SimulationOptions())
        for b in (1.0, 11.0)
    )
    unit = quiet.cells.factor * quiet.energy[0][:, None]
    more = ((loud.flux - quiet.flux)[0] * unit * quiet.cells.rings).mean()
    assert more == pytest.approx((loud.background - quiet.background)[0])


def test_the_fit_is_near_the_limit_but_not_below():
    row = limit_row(known_day("control", 210, seed=4))
    assert row["counts"] < row["limit"] < row["width"] < 1.5 * row["limit"]
    assert row["coverage_shade"] > 0.9 and row["says"] > 0.95


def test_what_is_taken_out_cannot_move():
    prior = prior_without(NOMINAL.prior, INGREDIENTS["secondaries and beam"])
    for q in (YIELD, BEAM_HEIGHT):
        assert prior[0, q] == PRIOR[q] == 0 and prior[1, q] == STIFF
    nothing = prior_without(prior, INGREDIENTS["what the day has learned"])
    np.testing.assert_array_equal(nothing, NOMINAL.prior)


def test_secondaries_restore_coverage():
    table = ablation(["secondaries and beam"], 210, seed=4)
    control = table.loc["secondaries and beam", "control"]
    assert control["coverage_shade"] > control["coverage_shade without"] + 0.2
    assert control["error"] < control["error without"]
    assert len(plot_ablation(table).patches) == 2
