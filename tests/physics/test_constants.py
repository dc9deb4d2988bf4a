"Constants of the current balance: uncertainties that vary together, and their file."

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from lunar_potential.config import Config
from lunar_potential.physics.charging import spacecraft_potential
from lunar_potential.physics.constants import (
    CalibratedYield,
    ChargingErrors,
    ChargingModel,
    Measured,
    calibrated_errors,
    calibrated_model,
    read_constants,
    write_constants,
)
from lunar_potential.physics.kappa import kappa_flux
from lunar_potential.run.files import OutputError

FOUND = CalibratedYield(
    Measured(1.4, 0.06, 1.28, 1.52),
    Measured(480.0, 48.0, 384.0, 576.0),
    ((0.0036, 2.592), (2.592, 2304.0)),
    97,
    {"3D980411.TAB": "a" * 64},
)


@pytest.fixture
def values(tmp_path):
    "Content of a good file."
    write_constants(FOUND, tmp_path / "good.json")
    return json.loads((tmp_path / "good.json").read_text())


def refused(values, tmp_path):
    path = tmp_path / "wrong.json"
    text = values if isinstance(values, str) else json.dumps(values)
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        read_constants(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_file_gives_back_what_was_written(tmp_path):
    one_sided = replace(
        FOUND, yield_max=Measured(1.6, None, 1.6, None), covariance=None
    )
    for found in (FOUND, one_sided):
        write_constants(found, tmp_path / "new" / "constants.json")
        assert read_constants(tmp_path / "new" / "constants.json") == found
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["constants.json"]


@pytest.mark.parametrize(
    "key",
    "version yield_max yield_energy covariance crossings inputs".split(),
)
def test_a_missing_key_is_named(values, tmp_path, key):
    del values[key]
    assert key in refused(values, tmp_path)


@pytest.mark.parametrize("name", ["value", "error", "lower", "upper"])
@pytest.mark.parametrize("key", ["yield_max", "yield_energy"])
@pytest.mark.parametrize("wrong", ["1", True, [1.0], {}, -1.0, 1e9])
def test_what_is_no_sensible_number_is_named(values, tmp_path, key, name, wrong):
    values[key][name] = wrong
    assert f"{key}.{name}" in refused(values, tmp_path)


def test_unknown_keys_are_named(values, tmp_path):
    values["yield_max"]["unit"] = "eV"
    assert "yield_max.unit" in refused(values, tmp_path)
    del values["yield_max"]["unit"]
    assert "photo_a" in refused(values | {"photo_a": 1.0}, tmp_path)


@pytest.mark.parametrize(
    "covariance",
    [
        [[0.0036, 2.592], [2.0, 2304.0]],
        [[0.0036, 5.0], [5.0, 2304.0]],
        [[0.01, 2.592], [2.592, 2304.0]],
        [[0.0036], [2.592, 2304.0]],
        [0.0036, 2304.0],
        "none",
        {},
    ],
)
def test_a_covariance_must_be_one_and_agree_with_the_errors(
    values, tmp_path, covariance
):
    assert "covariance" in refused(values | {"covariance": covariance}, tmp_path)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "damaged or no JSON"),
        ("[1]", "no charging constants"),
        ('{"format": "other"}', "lunar-potential calibrate"),
        ("{", "damaged or no JSON"),
        ("[" * 100_000, "damaged or no JSON"),
        ("import os", "damaged or no JSON"),
    ],
)
def test_other_files_are_recognised(tmp_path, text, words):
    assert words in refused(text, tmp_path)


def test_other_versions_bytes_and_hashes(values, tmp_path):
    assert "version" in refused(values | {"version": 2}, tmp_path)
    assert "inputs.a" in refused(values | {"inputs": {"a": "short"}}, tmp_path)
    assert "inputs" in refused(values | {"inputs": {}}, tmp_path)
    assert "crossings" in refused(values | {"crossings": 0}, tmp_path)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="bytes.json"):
        read_constants(tmp_path / "bytes.json")
    with pytest.raises(FileNotFoundError):
        read_constants(tmp_path / "nowhere.json")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="constants.json"):
        write_constants(FOUND, tmp_path / "file" / "constants.json")
    assert os.listdir(tmp_path) == ["file"]


def test_a_calibration_replaces_value_and_error_and_nothing_else():
    model, errors = calibrated_model(FOUND), calibrated_errors(FOUND)
    assert model == ChargingModel(yield_max=1.4, yield_energy=480.0)
    assert errors == ChargingErrors(
        yield_max=errors.yield_max,
        yield_energy=errors.yield_energy,
        yield_correlation=errors.yield_correlation,
    )
    assert errors.yield_max == pytest.approx(0.06 / 1.4)
    assert errors.yield_energy == pytest.approx(0.1)
    assert errors.yield_correlation == pytest.approx(0.9)


def test_settings_of_a_file_survive_being_stored(tmp_path):
    write_constants(FOUND, tmp_path / "constants.json")
    config = Config(direction="look").calibrated(tmp_path / "constants.json")
    stored = json.loads(json.dumps(config.to_dict()))
    assert Config.from_dict(stored) == config != Config(direction="look")
    assert Config.from_dict({"direction": "look"}) == Config(direction="look")


def in_shade(errors):
    "Shared error of a body in shade, V."
    from known_plasmas import sweep_of

    sums = sweep_of(lambda e: kappa_flux(e, 2e5, 60.0, 3.5), -25.0)
    found = spacecraft_potential(sums, np.zeros(1), stated=errors)
    return found.constants_error[0]


def test_errors_that_vary_together_cancel_in_the_shared_error():
    """More secondaries at a higher energy are as many at a hundred electronvolts.

    Far below its maximum the yield goes as its size over its energy, so that errors of
    equal sign cancel and errors of opposite sign add up."""
    small = dict(yield_max=0.03, yield_energy=0.03, ions=0.0, secondary_temperature=0.0)
    alone, same, opposite = (
        in_shade(ChargingErrors(**small, yield_correlation=c)) for c in (0.0, 0.9, -0.9)
    )
    assert same < 0.8 * alone < alone < opposite < 2 * alone
