"""Limits over an archive: percentiles of all pixels, in any order, stopped or not."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.fast import extrema
from lunar_potential.fast.esa import read_esa
from lunar_potential.fast.extrema import (
    ERROR,
    Sketch,
    compute_global_extrema,
    from_plain,
    limits,
    percentile,
    round_extrema,
    sketch_file,
    sketch_orbit,
    to_plain,
)
from lunar_potential.fast.files import find_orbits
from lunar_potential.fast.pitch import pitch_mean
from lunar_potential.fast.simulate import simulate_archive, simulate_cdf
from lunar_potential.run.outcomes import Outcome
from lunar_potential.run.state import StateError

ORBITS = tuple(range(13519, 13527))
FAULTS = {13600: "truncated", 13604: "all-zero"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fast")
    simulate_archive(
        folder, orbits=ORBITS, instruments=("ees", "ieb"), faults=FAULTS, records=16
    )
    return folder


@pytest.fixture(scope="module")
def outcomes(archive):
    return [
        Outcome(item=item, value=sketch_orbit(item))
        for item in find_orbits(archive).items()
    ]


@pytest.fixture(scope="module")
def whole(archive, tmp_path_factory):
    "What an unbroken run gives."
    return compute_global_extrema(
        archive, extrema_json_path=tmp_path_factory.mktemp("json") / "whole.json"
    )


def pixels(archive, instrument):
    "Fluxes and energies of all pixels of the healthy orbits."
    flux, energy = [], []
    for orbit in ORBITS:
        data = read_esa(find_orbits(archive)[orbit][instrument])
        mean = pitch_mean(data)
        flux.append(mean[np.isfinite(mean)])
        energy.append(data.energy.values[mean > 0])
    return np.concatenate(flux), np.concatenate(energy)


# the histogram


@given(
    st.lists(st.floats(1e-12, 1e15), min_size=1, max_size=200),
    st.integers(0, 50),
    st.floats(0, 100),
)
def test_percentile_is_that_of_numpy(values, zeros, q):
    sketch = Sketch().add(values + [0.0] * zeros + [np.nan, np.inf, -1.0])
    for with_zeros, pooled in ((False, values), (True, values + [0.0] * zeros)):
        assert percentile(sketch, q, with_zeros) == pytest.approx(
            np.percentile(pooled, q), rel=1.0001 * ERROR, abs=1e-300
        )


@given(
    st.lists(st.lists(st.floats(1e-3, 1e9), max_size=20), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_order_and_division_do_not_matter(parts, order):
    together, merged = Sketch().add(np.concatenate(parts)), Sketch()
    order.shuffle(parts)
    for part in parts:
        merged.merge(from_plain(json.loads(json.dumps(to_plain(Sketch().add(part))))))
    assert merged == together


def test_no_values_no_percentile():
    assert (
        np.isnan(percentile(Sketch(), 95))
        and np.isnan(percentile(Sketch().add([0.0]), 95))
        and percentile(Sketch().add([0.0]), 95, True) == 0
    )
    assert limits({"y": Sketch(), "z": Sketch().add([0.0])}) == {}


def test_memory_does_not_grow_with_the_values():
    sketch, rng = Sketch(), np.random.default_rng(0)
    sizes = []
    tracemalloc.start()
    for _ in range(40):
        sketch.add(10 ** rng.uniform(3, 9, 20_000))
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(sketch.bins) < 6.1 * 1152 and sizes[-1] < 1.2 * sizes[9]


@pytest.mark.parametrize(
    "value, up, expected",
    [
        (1234, True, 1300),
        (0.0123, False, 0.012),
        (1200, True, 1200),
        (1299, False, 1200),
        (-1234, True, -1200),
        (0.0, True, 0.0),
        (9.99e7, True, 1e8),
        (3e-8, True, 3e-8),
    ],
)
def test_round_extrema(value, up, expected):
    assert round_extrema(value, up) == pytest.approx(expected, rel=1e-12)


# all orbits


def test_limits_are_percentiles_of_all_pixels(archive, whole):
    for instrument in ("ees", "ieb"):
        flux, energy = pixels(archive, instrument)
        assert whole[f"{instrument}_linear_log_z_max"] == pytest.approx(
            np.percentile(flux[flux > 0], 95), rel=ERROR
        )
        assert whole[f"{instrument}_linear_log_y_max"] == pytest.approx(
            np.percentile(energy, 99), rel=ERROR
        )
    assert whole["linear_log_last_orbit"] == 13604
    assert whole["ees_linear_log_extrema_progress"] == {
        "processed_index": 10,
        "total": 10,
        "complete": True,
        "failed": {"13600": "invalid-cdf", "13604": "divide-by-zero"},
        "max_percentile": 95.0,
    }
    assert (
        not [key for key in whole if key.endswith("_min")]
        and whole["ies_linear_log_extrema_progress"]["total"] == 0
    )


def test_linear_colours_count_zeros(archive, tmp_path):
    state = compute_global_extrema(
        archive,
        "log",
        "linear",
        extrema_json_path=tmp_path / "e.json",
        max_percentile=80,
        compute_mins=True,
    )
    flux, energy = pixels(archive, "ieb")
    assert (flux == 0).any()
    for name, expected in (
        ("z_max", np.percentile(flux, 80)),
        ("z_min", np.percentile(flux, 20)),
        ("y_min", np.percentile(energy, 1)),
    ):
        assert state[f"ieb_log_linear_{name}"] == pytest.approx(expected, rel=ERROR)


def test_high_energies_are_not_cut(archive, whole):
    assert whole["ieb_linear_log_y_max"] > 20_000


def test_seed_examples(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FAST_data").symlink_to(archive)
    compute_global_extrema(
        directory_path="FAST_data", y_scale="linear", z_scale="log", flush_batch_size=20
    )
    state = compute_global_extrema(
        directory_path="FAST_data",
        y_scale="linear",
        z_scale="log",
        instrument_order=("ees", "eeb", "ies", "ieb"),
        extrema_json_path="FAST_calculated_extrema.json",
        max_percentile=95.0,
        flush_batch_size=20,
    )
    assert [key for key in state if key.endswith("_z_max")] == [
        "ees_linear_log_z_max",
        "ieb_linear_log_z_max",
    ]
    assert {
        key: value
        for key, value in json.loads(
            (tmp_path / "FAST_calculated_extrema.json").read_text()
        ).items()
        if key != "_pool"
    } == state


def test_other_scales_keep_their_keys_and_read_no_file(archive, tmp_path, monkeypatch):
    path = tmp_path / "e.json"
    first = compute_global_extrema(archive, "linear", "log", ("ieb",), path)
    monkeypatch.setattr(extrema, "sketch_file", None)
    both = compute_global_extrema(
        archive, "log", "log", ("ieb",), path, max_percentile=99
    )
    assert (
        both["ieb_linear_log_z_max"]
        == first["ieb_linear_log_z_max"]
        < both["ieb_log_log_z_max"]
    )


def test_nothing_new_writes_nothing(archive, tmp_path):
    path = tmp_path / "e.json"
    compute_global_extrema(archive, instrument_order=("ieb",), extrema_json_path=path)
    os.utime(path, (1, 1))
    compute_global_extrema(archive, instrument_order=("ieb",), extrema_json_path=path)
    assert path.stat().st_mtime == 1


@pytest.mark.parametrize("flush", [1, 3, 50])
def test_number_of_writes(archive, tmp_path, monkeypatch, flush):
    writes, inner = [], extrema.atomic_file
    monkeypatch.setattr(
        extrema, "atomic_file", lambda path: writes.append(path) or inner(path)
    )
    compute_global_extrema(
        archive, extrema_json_path=tmp_path / "e.json", flush_batch_size=flush
    )
    assert len(writes) == -(-10 // flush)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"y_scale": "ln"}, "scales"),
        ({"z_scale": ""}, "scales"),
        ({"max_percentile": 0}, "max_percentile"),
        ({"max_percentile": 101}, "max_percentile"),
        ({"instrument_order": ("ees", "xyz")}, "no such instrument"),
        ({"flush_batch_size": 0}, "batch of 0"),
    ],
)
def test_settings_are_checked(archive, tmp_path, options, match):
    with pytest.raises(ValueError, match=match):
        compute_global_extrema(
            archive, extrema_json_path=tmp_path / "e.json", **options
        )


# files that change


def test_file_that_changed_is_counted_anew(archive, tmp_path, whole):
    copy, path = shutil.copytree(archive, tmp_path / "copy"), tmp_path / "e.json"
    compute_global_extrema(copy, extrema_json_path=path)
    found = find_orbits(copy)
    simulate_cdf(copy, "ieb", 13519, "2000-01-19T23:45:00", records=60, spoil=False)
    again = compute_global_extrema(copy, extrema_json_path=path)
    fresh = compute_global_extrema(copy, extrema_json_path=tmp_path / "fresh.json")
    assert (
        again == fresh != whole
        and again["ees_linear_log_z_max"] == whole["ees_linear_log_z_max"]
    )
    shutil.copy(
        found[13520]["ees"], found[13600]["ees"]
    )  # a broken file is fetched again
    mended = compute_global_extrema(copy, extrema_json_path=path)
    assert "13600" not in mended["ees_linear_log_extrema_progress"]["failed"]


def test_orbits_that_come_later_are_added(archive, tmp_path, whole):
    copy, path = shutil.copytree(archive, tmp_path / "copy"), tmp_path / "e.json"
    later = [
        file
        for orbit, files in find_orbits(copy).items()
        if orbit in ORBITS[4:]
        for file in files.values()
    ]
    for file in later:
        file.rename(file.with_suffix(".part"))
    compute_global_extrema(copy, extrema_json_path=path)
    for file in later:
        file.with_suffix(".part").rename(file)
    assert compute_global_extrema(copy, extrema_json_path=path) == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"_pool": {"error": 0.001, "instruments": {"ees": {"y": {}}}}}',
        '{"_pool": {"error": 0.001, "instruments": []}}',
    ],
)
def test_damaged_state_is_refused_and_can_be_ignored(archive, tmp_path, whole, text):
    path = tmp_path / "e.json"
    path.write_text(text)
    with pytest.raises(StateError, match="e.json"):
        compute_global_extrema(archive, extrema_json_path=path)
    assert (
        compute_global_extrema(
            archive, extrema_json_path=path, ignore_progress_json=True
        )
        == whole
    )


def test_state_of_another_program_is_kept_beside(archive, tmp_path, whole):
    path = tmp_path / "e.json"
    path.write_text('{"ees_linear_log_z_max": 2.85, "note": "mine"}')
    assert compute_global_extrema(archive, extrema_json_path=path) == whole | {
        "note": "mine"
    }


# order, interruption


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 12), st.integers(0, 10))
def test_any_order_any_batch_any_stop(
    archive, outcomes, whole, tmp_path_factory, order, batch, stop
):
    path = tmp_path_factory.mktemp("json") / "e.json"
    mine = list(outcomes)
    order.shuffle(mine)

    def make():
        return extrema._ExtremaState(
            path,
            find_orbits(archive),
            ("ees", "eeb", "ies", "ieb"),
            ("linear", "log"),
            {"max_percentile": 95.0, "compute_mins": False},
            False,
        )

    store = make()
    for start in range(0, stop, batch):
        store.record(mine[start : min(start + batch, stop)])
    kept, store = mine[:stop], make()
    left = dict(store.todo())
    healthy = {outcome.item[0] for outcome in kept if outcome.item[0] in ORBITS}
    assert set(left) == set(find_orbits(archive)) - healthy
    rest = [outcome for outcome in mine if outcome.item[0] in left]
    for _ in range(2):  # a batch may come twice
        store.record(rest)
    extrema._write(store)
    assert store.stored == whole


def test_last_orbit_has_none_left_before_it(archive, outcomes, tmp_path):
    store = extrema._ExtremaState(
        tmp_path / "e.json",
        find_orbits(archive),
        ("ees", "ieb"),
        ("linear", "log"),
        {"max_percentile": 95.0, "compute_mins": False},
        False,
    )
    random.Random(3).shuffle(mine := list(outcomes))
    done = set()
    for outcome in mine:
        store.record([outcome])
        done.add(outcome.item[0])
        held = json.loads((tmp_path / "e.json").read_text())
        before = [
            orbit
            for orbit in find_orbits(archive)
            if orbit <= held.get("linear_log_last_orbit", 0)
        ]
        assert set(before) <= done and len(done) - len(before) < len(
            find_orbits(archive)
        )
    assert held["linear_log_last_orbit"] == 13604


KILL = """
import os, signal, sys
from lunar_potential.fast import extrema
inner, calls = extrema.sketch_orbit, []
def sketch_orbit(item):
    calls.append(item)
    if len(calls) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return inner(item)
extrema.sketch_orbit = sketch_orbit
extrema.compute_global_extrema(
    sys.argv[1], extrema_json_path=sys.argv[2], flush_batch_size=int(sys.argv[3])
)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("flush", [1, 3, 10])
def test_kill_loses_less_than_a_batch(archive, tmp_path, whole, flush):
    path = tmp_path / "e.json"
    done = subprocess.run(
        [sys.executable, "-c", KILL, str(archive), str(path), str(flush)],
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    kept = (
        len(json.loads(path.read_text())["_pool"]["instruments"]["ees"]["files"])
        if path.exists()
        else 0
    )
    assert 7 - (flush - 1) <= kept <= 7
    assert compute_global_extrema(archive, extrema_json_path=path) == whole


def test_workers_give_the_same(archive, tmp_path, whole):
    assert (
        compute_global_extrema(
            archive,
            extrema_json_path=tmp_path / "e.json",
            max_workers=2,
            flush_batch_size=2,
        )
        == whole
    )


def test_orbit_that_fails_as_a_whole(archive, tmp_path, outcomes):
    store = extrema._ExtremaState(
        tmp_path / "e.json",
        find_orbits(archive),
        ("ees", "ieb"),
        ("linear", "log"),
        {"max_percentile": 95.0, "compute_mins": False},
        False,
    )
    item = outcomes[0].item
    store.record(
        [
            Outcome(item=item, category="timeout", reason="60 s"),
            Outcome(item=outcomes[1].item, category="died", reason="killed"),
        ]
    )
    assert store.stored["ieb_linear_log_extrema_progress"]["failed"] == {
        "13519": "timeout",
        "13520": "generic",
    }
    assert len(store.todo()) == 10


def test_sketch_of_a_file_is_that_of_its_picture(archive):
    path = find_orbits(archive)[13519]["ees"]
    flux = pitch_mean(read_esa(path))
    found = sketch_file(path)
    assert (
        sum(found["z"].bins.values())
        == sum(found["y"].bins.values())
        == (flux > 0).sum()
        and found["z"].zeros == (flux == 0).sum()
    )


SHELL = """
import sys, time
from lunar_potential.fast import extrema
read = extrema.sketch_file
def sketch_file(path):
    open("reads", "a").write(path.name + "\\n")
    time.sleep(0.05)
    return read(path)
extrema.sketch_file = sketch_file
extrema.compute_global_extrema(
    *sys.argv[1:4], ("ieb",), "e.json", flush_batch_size=1
)
"""


def test_runs_that_share_a_file_wait_and_share_the_work(archive, tmp_path):
    scales = [(y, z) for y in ("linear", "log") for z in ("linear", "log")]
    shells = [
        subprocess.Popen(
            [sys.executable, "-c", SHELL, str(archive), *each],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        for each in scales
    ]
    said = "".join(each.communicate(timeout=900)[1] for each in shells)
    assert [each.returncode for each in shells] == [0] * 4, said
    assert said.count("this run waits") == 3 and "e.json is in use by" in said
    held = json.loads((tmp_path / "e.json").read_text())
    assert all(held[f"ieb_{y}_{z}_extrema_progress"]["complete"] for y, z in scales)
    assert sorted((tmp_path / "reads").read_text().split()) == sorted(
        held["_pool"]["instruments"]["ieb"]["files"]
    ), "no file is read twice"


def test_a_killed_run_leaves_no_lock(archive, tmp_path):
    code = (
        "import os, signal\n"
        "from lunar_potential.fast.state import alone_with\n"
        "with alone_with('e.json'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode
        == -signal.SIGKILL
    )
    assert (tmp_path / ".e.json.lock").exists()
    assert compute_global_extrema(
        archive, instrument_order=("ieb",), extrema_json_path=tmp_path / "e.json"
    )["linear_log_last_orbit"]


def test_advice_on_a_damaged_file_can_be_followed(archive, tmp_path):
    (tmp_path / "e.json").write_text("{")
    with pytest.raises(StateError, match="delete it, or name another file"):
        compute_global_extrema(
            archive, instrument_order=("ieb",), extrema_json_path=tmp_path / "e.json"
        )
    (tmp_path / "e.json").unlink()
    assert compute_global_extrema(
        archive, instrument_order=("ieb",), extrema_json_path=tmp_path / "e.json"
    )
