"Model selection: Maxwellian, kappa or two temperatures."

import numpy as np
import pytest
from known_plasmas import sweep_of

from lunar_potential.physics.kappa import kappa_flux
from lunar_potential.physics.model_selection import MODELS, compare_models

SHAPES = {
    "maxwellian": (4e5, 60.0),
    "kappa": (4e5, 60.0, 3.5),
    "two-temperature": (4e5, 50.0, 2e4, 350.0),
}

# --- which model


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
