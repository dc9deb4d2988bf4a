"The yield of a spacecraft of known yield, from the archive to the run that uses it."

import datetime
import json
from dataclasses import replace

import numpy as np
import pytest

from lunar_potential.cli import main
from lunar_potential.config import Config
from lunar_potential.physics.constants import ChargingErrors, ChargingModel
from lunar_potential.results import read_results
from lunar_potential.science.calibrate import (
    FEWEST,
    METHOD,
    METHOD_ENERGY,
    TooFewCrossings,
    Valley,
    calibrate,
    fixed_energy,
    in_tail,
    is_closed,
    lower_bound,
    measured_yield,
    study_crossings,
)
from lunar_potential.science.eclipses import YieldCurve
from lunar_potential.shards import Period
from lunar_potential.synthetic.kernels import write_kernels
from lunar_potential.synthetic.scenario import CONTROL
from lunar_potential.synthetic.simulate import simulate_archive

FULL_MOON = "1998-04-11"


@pytest.fixture(scope="module")
def low(tmp_path_factory):
    "A day in the tail of a spacecraft with a yield of 1.35."
    root = tmp_path_factory.mktemp("low")
    simulate_archive(root, [FULL_MOON], scenario=replace(CONTROL, yield_max=1.35))
    return root


@pytest.fixture(scope="module")
def high(tmp_path_factory):
    "A day in the tail of a spacecraft with a yield of 1.65."
    root = tmp_path_factory.mktemp("high")
    simulate_archive(root, [FULL_MOON], scenario=replace(CONTROL, yield_max=1.65))
    return root


@pytest.fixture(scope="module")
def constants(low, tmp_path_factory):
    "The file that the command writes for it."
    folder = tmp_path_factory.mktemp("constants")
    path = folder / "constants.json"
    options = ["--workers", "1", "--quiet", "--figure", str(folder / "yield.png")]
    assert main(["calibrate", str(low), "-o", str(path), *options]) == 0
    return path


def test_a_low_yield_is_found_within_two_errors(constants):
    found = json.loads(constants.read_text())
    largest, energy = found["yield_max"], found["yield_energy"]
    assert abs(largest["value"] - 1.35) < 2 * largest["error"] < 0.16
    assert largest["lower"] < 1.35 < largest["upper"] < 1.5
    assert abs(energy["value"] - 500) < 2 * energy["error"] < 150
    assert found["crossings"] >= FEWEST
    names = {"3D980411.TAB", "theta.tab", "attitude.tab"}
    assert names < set(found["inputs"])
    assert constants.with_name("yield.png").stat().st_size > 10_000


def test_a_high_yield_has_a_lower_bound_and_no_upper_one(high):
    "Most plasmas of the tail leave such a body uncharged; nothing is made up."
    study = calibrate(high, n_jobs=1, quiet=True)
    found = study.found.yield_max
    assert found.upper is None and found.error is None and not found.identified
    assert 1.4 < found.lower < 1.65 and found.value == max(1.5, found.lower)
    assert study.found.covariance is None and not study.found.yield_energy.identified


def test_a_run_with_the_file_knows_the_potential_in_shade_better(
    low, constants, tmp_path
):
    """Every twelfth sweep of the day; the file's constants against the defaults.

    They stand in the settings of the result, and other shards are made for them."""
    few, out = tmp_path / "few", tmp_path / "out"
    truth = simulate_archive(
        few,
        [FULL_MOON],
        sweeps_per_day=90,
        cadence=960,
        scenario=replace(CONTROL, yield_max=1.35),
    )
    day = ["--year", "1998", "--month", "4", "--day", "11", "--data-dir", str(few)]
    where = ["--output-dir", str(out), "--no-parallel", "--quiet"]
    assert main(["batch", *day, *where]) == 0
    (path,) = out.glob("*.npz")
    before = read_results(path)
    assert main(["batch", *day, *where, "--constants", str(constants)]) == 0
    after = read_results(path)
    assert len(list((out / "shards").iterdir())) == 2
    stored = Config.from_dict(after.meta["config"])
    assert stored == Config().calibrated(constants)
    assert Config.from_dict(before.meta["config"]) == Config()
    dark = ~truth.sc_sun & (truth.u_sc < -10)
    assert dark.sum() > 5
    off, shared = (
        [np.nanmedian(np.abs(array(result)[dark])) for result in (before, after)]
        for array in (
            lambda result: result.spec["u_spacecraft"] - truth.u_sc,
            lambda result: result.spec["u_spacecraft_constants_error"],
        )
    )
    assert off[1] < 0.5 * off[0] and shared[1] < 0.85 * shared[0]


def test_what_changed_is_named_by_constant(archive, constants, tmp_path, capsys):
    day = ["batch", "--year", "1998", "--month", "1", "--data-dir", str(archive.root)]
    day += ["--output-dir", str(tmp_path), "--no-parallel", "--quiet"]
    assert main(day) == 0
    assert main([*day, "--constants", str(constants), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "charging.yield_max" in said and "was 1.5" in said
    assert "photo_a" not in said


@pytest.mark.parametrize(
    "content, words",
    [
        (None, ["No such file"]),
        ("{}", ["no charging constants"]),
        ("yield = 1.5", ["damaged or no JSON"]),
    ],
)
def test_a_wrong_file_of_constants_ends_in_a_sentence(
    archive, tmp_path, capsys, content, words
):
    path = tmp_path / "wrong.json"
    if content is not None:
        path.write_text(content)
    command = ["batch", "--year", "1998", "--data-dir", str(archive.root)]
    assert main([*command, "--constants", str(path), "--output-dir", "no"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "wrong.json" in said
    assert all(word in said for word in words)


def test_too_few_crossings_are_counted_and_nothing_is_written(
    archive, tmp_path, capsys
):
    out = tmp_path / "constants.json"
    assert main(["calibrate", str(archive.root), "-o", str(out), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "0 crossings" in said and f"{FEWEST} are needed" in said
    assert not out.exists()
    assert main(["calibrate", str(tmp_path / "nowhere"), "-o", str(out)]) == 1
    assert main(["calibrate", "--month", "4", "-o", str(out)]) == 2


def test_days_outside_the_tail_are_not_read(low, tmp_path):
    kernels = write_kernels(tmp_path, "1998-04-01", "1998-04-20")
    days = [datetime.date(1998, 4, day) for day in range(2, 20)]
    inside = [day.day for day in days if in_tail(day, kernels)]
    assert inside == [10, 11, 12, 13] or inside == [9, 10, 11, 12, 13]
    with pytest.raises(TooFewCrossings):
        study_crossings([], {})
    with pytest.raises(FileNotFoundError, match="start 1998-05-01"):
        calibrate(low, Period(start="1998-05-01"), quiet=True)


# ---- the answer of invented curves

GRID = np.linspace(1.0, 2.0, 1001)


def curve(best, width=0.01, top=1e9):
    "A parabola of one standard error `width`, and a plateau of height `top` above it."
    value = np.minimum(((GRID - best) / width) ** 2, np.where(GRID > best, top, 1e9))
    return YieldCurve(GRID, value, np.eye(4), 50)


def curves(*best, **more):
    names = ("crossings", "photoelectrons", "ions", "energy bands")
    return dict(zip(names, (curve(one, **more) for one in best)))


def line(rise, at=500.0, best=1.4):
    "A valley whose yield goes with the root of energy, and rises by the square."
    energy = 500 * np.exp(0.08 * np.arange(-2, 3))
    value = rise * np.log(energy / at) ** 2
    return Valley(energy, best * (energy / 500) ** 0.5, value)


def test_errors_add_up_in_squares_and_an_unknown_energy_takes_its_share():
    found = curves(1.4, 1.43, 1.4, 1.36)
    flat = dict.fromkeys(found, line(rise=10.0))
    largest, energy, covariance = measured_yield(found, flat)
    slope = flat["crossings"].slope(np.log(500.0))
    assert slope == pytest.approx(0.7, rel=0.02)
    shares = 0.01, 0.03, 0.04, slope * 0.1, METHOD * 1.4
    expected = np.linalg.norm(shares)
    assert largest.error == pytest.approx(expected, rel=0.02)
    assert (energy.value, energy.error) == pytest.approx((500.0, 50.0))
    assert not energy.identified and largest.identified
    assert covariance[0][1] == pytest.approx(slope * 0.1 * 50.0, rel=0.02)


def test_an_energy_that_the_data_know_is_identified():
    found = curves(1.4, 1.4, 1.4, 1.4)
    sharp = dict.fromkeys(found, line(rise=1e4, at=520.0))
    largest, energy, _ = measured_yield(found, sharp)
    assert energy.identified and energy.value == pytest.approx(520.0, rel=1e-3)
    expected = np.hypot(1e-2, METHOD_ENERGY)  # of a parabola that rises by 1
    assert energy.error == pytest.approx(520.0 * expected, rel=1e-2)
    assert largest.value == pytest.approx(1.4 * 1.04**0.5, rel=1e-3)
    apart = sharp | {"ions": line(rise=1e4, at=450.0)}
    assert measured_yield(found, apart)[1].identified is False


def test_a_plateau_above_leaves_the_error_open():
    found = curves(1.6, 1.62, 1.6, 1.6, top=3.0)
    assert not is_closed(found)
    largest, energy, covariance = measured_yield(found, {})
    assert largest.upper is None and largest.error is None and covariance is None
    assert largest.lower == pytest.approx(
        1.58 - 2 * np.hypot(0.02, METHOD * 1.58), abs=2e-3
    )
    assert largest.value == largest.lower
    assumed = ChargingModel(yield_max=1.7), ChargingErrors()
    assert measured_yield(found, {}, *assumed)[0].value == 1.7
    assert energy.error == pytest.approx(50.0)


def test_curves_that_say_nothing_are_refused():
    flat = YieldCurve(GRID, 0 * GRID, np.eye(4), 33)
    with pytest.raises(TooFewCrossings, match="33 crossings"):
        lower_bound({"crossings": flat})


def test_the_energy_that_is_assumed_may_be_another():
    found, along = curves(1.4, 1.4, 1.4, 1.4), line(rise=1.0)
    best, matrix = fixed_energy(found, along, (np.log(500.0), 0.2))
    assert best[0] == pytest.approx(1.4, abs=2e-3)
    assert np.sqrt(matrix[1, 1]) == pytest.approx(0.2)
