"""What is measured of speed is counted, kept and read back; times are not tested."""

import json
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import spiceypy.cyice as cyice
from simulated_days import same_results

from lunar_potential.physics.ephemeris import ephemeris, unix_to_et
from lunar_potential.pipeline import process_lp_file
from lunar_potential.quality import speed
from lunar_potential.quality.bench import HEADINGS, compare_workers
from lunar_potential.quality.history import (
    entry_label,
    history_table,
    plot_history,
    read_history,
    record_entry,
)
from lunar_potential.quality.limits import counted_spice, plot_stages, run_limits
from lunar_potential.quality.reference import (
    machine_facts,
    reference_loop,
    speed_row,
    timed,
)
from lunar_potential.report import SEED_MONTH
from lunar_potential.results import read_results, write_results

STORED = Path(__file__).resolve().parents[2] / "nbs/quality/speed.json"
AROUND = {
    "reference_wall_s": 2.0,
    "reference_cpu_s": 0.5,
    "load_before": 1.0,
    "load_after": None,
}


@pytest.fixture(scope="module")
def day(archive):
    return process_lp_file(archive.files()[0], archive=archive)


# the reference


def test_the_reference_loop_always_does_the_same():
    assert reference_loop() == reference_loop()


def test_time_of_children_counts():
    spin = "import time\nwhile time.process_time() < 0.4: pass"
    wall, cpu, done = timed(lambda: subprocess.run([sys.executable, "-c", spin]))
    assert done.returncode == 0 and wall > 0 and cpu > 0.3


def test_row_holds_medians_and_ratios():
    row = speed_row([(9.0, 1.0), (2.0, 3.0), (4.0, 2.0)], AROUND)
    assert (row["wall_s"], row["cpu_s"], row["repeats"]) == (4.0, 2.0, 3)
    assert (row["wall_ratio"], row["cpu_ratio"], row["load_after"]) == (2.0, 4.0, None)


def test_facts_survive_json():
    facts = machine_facts()
    assert json.loads(json.dumps(facts)) == facts


# the limits


@pytest.mark.parametrize("n", [1, 200])
def test_what_spice_is_asked_is_counted(archive, n):
    asked = cyice.spkpos_v, cyice.pxform_v
    unix = np.datetime64("1998-06-14T06:00:00").astype(int) + 70.0 * np.arange(n)
    et = unix_to_et(unix, archive.kernels)
    with counted_spice() as count:
        ephemeris(et, archive.kernels)
    marks = [np.floor(et / step) for step in (300.0, 60.0)]
    expected = n + sum(len(np.union1d(mark, mark + 1)) for mark in marks)
    assert (count.positions, count.calls) == (expected, 3) and count.seconds > 0
    assert (cyice.spkpos_v, cyice.pxform_v) == asked


def test_limits_are_per_day_and_per_sweep(archive):
    seconds = {"read": 2.0, "coordinates": 1.0, "surface fit": 3.0}
    table = run_limits(archive.root, seconds, connected=50)
    size = sum(path.stat().st_size for path in archive.files()) / 1e6
    days = len(archive.files())
    assert table.loc["read", "number"] == pytest.approx(size / days)
    assert table.loc["read", "per_s"] == pytest.approx(size / 2)
    fit = table.loc["surface fit"]
    assert fit["number"] * 50 == pytest.approx(3.0 * fit["alone_per_s"])
    assert np.isnan(fit["share"])


def test_bars_show_the_work_alone():
    fig, ax = plt.subplots()
    plot_stages({"read": 4.0, "write": 1.0}, {"read": 0.25, "write": np.nan}, ax)
    widths = [bar.get_width() for bar in ax.patches]
    plt.close(fig)
    assert widths == [4.0, 1.0, 1.0, 0.0]


def test_month_stands_beside_the_earlier_code(archive, tmp_path):
    tables = compare_workers(archive.root, workers=(1,), scratch=tmp_path)
    assert list(tables) == list(HEADINGS)
    earlier = tables["stages"]["earlier code (s)"].dropna()
    assert earlier.to_dict() == SEED_MONTH
    assert tables["runs"].loc[1, "cpu_s"] > 0


# what a user waits for


def test_first_start_finds_nothing_compiled(tmp_path, monkeypatch):
    seen = []

    def run(arguments, **environment):
        code = Path(environment["NUMBA_CACHE_DIR"])
        seen.append((arguments[2], code, code.exists()))
        code.mkdir(exist_ok=True)
        return float(len(seen)), 0.5

    monkeypatch.setattr(speed, "timed_command", run)
    found = speed.start_times(speed.SpeedPlan(tmp_path, sweeps=7, repeats=2))
    assert found == {
        "demo, first start": [(1.0, 0.5), (3.0, 0.5)],
        "demo, second start": [(2.0, 0.5), (4.0, 0.5)],
    }
    assert [verb for verb, *_ in seen] == ["demo"] * 4
    assert [there for *_, there in seen] == [False, True, False, True]
    assert len({code for _, code, _ in seen}) == 2 and not list(tmp_path.iterdir())


def test_a_failed_command_says_why():
    with pytest.raises(RuntimeError, match="no such verb|invalid choice"):
        speed.timed_command(["-m", "lunar_potential", "sing"])


def test_a_repeated_day_is_a_month(day, tmp_path):
    month = speed.repeat_day(day, 4)
    assert month.n_sweeps == 4 * day.n_sweeps
    assert len(set(month.meta["files"])) == 4
    spec = month.spec
    assert len(set(spec["spec_no"])) == month.n_sweeps
    later = spec["time_start"].reshape(4, -1) - day.spec["time_start"]
    assert (later == 86400.0 * np.arange(4)[:, None]).all()
    for name in ("u_surface", "projection_latitude", "flags"):
        expected = np.tile(day.spec[name], 4)
        np.testing.assert_array_equal(spec[name], expected, err_msg=name)
    east = spec["projection_longitude"]
    assert np.nanmax(np.abs(east)) <= 180
    same_results(read_results(write_results(month, tmp_path / "month.npz")), month)


# the history


def entry(version="9.9", ratio=2.0, **changes):
    row = {"wall_s": 1.5, "cpu_s": None, "repeats": 3}
    row |= {"wall_ratio": ratio, "cpu_ratio": None}
    made = {"version": version, "date": "2030-01-01", "machine": {}, "note": ""}
    return made | {"numbers": {"x": row}, "stages": {}, "limits": {}} | changes


def test_history_is_read_as_it_was_recorded(tmp_path):
    path = tmp_path / "new folder" / "speed.json"
    limits = {"read": {"unit": "MB", "number": 25.5, "share": None}}
    one, two = entry(stages={"read": 1.0}, limits=limits), entry("10.0", date=None)
    record_entry(path, one)
    assert record_entry(path, two) == read_history(path) == [one, two]
    assert [entry_label(each) for each in (one, two)] == ["9.9, 2030-01-01", "10.0"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "damaged or no JSON"),
        ('[{"version": "1"', "damaged or no JSON"),
        ('[{"version": NaN}]', "damaged or no JSON"),
        ("\xff", "damaged or no JSON"),
        ('{"version": "1"}', "no list"),
        ("[1]", "entry 1: it is no JSON object"),
        ([entry(), {}], "entry 2: version is missing"),
        ([entry(version=1)], "entry 1: version"),
        ([entry(machine=None)], "entry 1: machine"),
        ([entry(numbers={"x": {"wall_s": 1.0}})], "numbers of 'x'"),
        ([entry(ratio="2")], "numbers of 'x'"),
        ([entry(ratio=True)], "numbers of 'x'"),
        ([entry(ratio=-1.0)], "numbers of 'x'"),
        ([entry(stages={"read": "1 s"})], "'read'"),
        ([entry(limits={"read": 3})], "limits of 'read'"),
    ],
)
def test_a_damaged_history_is_named_and_left_alone(text, words, tmp_path):
    path = tmp_path / "speed.json"
    text = text if isinstance(text, str) else json.dumps(text)
    path.write_text(text, encoding="latin-1")
    for attempt in (lambda: read_history(path), lambda: record_entry(path, entry())):
        with pytest.raises(ValueError, match=words) as error:
            attempt()
        assert str(path) in str(error.value)
    assert path.read_text(encoding="latin-1") == text
    assert list(tmp_path.iterdir()) == [path]


def test_no_entry_is_written_that_could_not_be_read(tmp_path):
    with pytest.raises(ValueError, match="numbers of 'x'"):
        record_entry(tmp_path / "speed.json", entry(ratio=float("nan")))
    assert not list(tmp_path.iterdir())


def test_unknown_numbers_are_left_out_of_the_figure():
    entries = [entry(ratio=None), entry("10.0", 3.0), entry("11.0", numbers={})]
    table = history_table(entries, "wall_ratio")
    np.testing.assert_array_equal(table.loc["x"], [np.nan, 3.0, np.nan])
    fig, ax = plt.subplots()
    plot_history(entries, "wall_ratio", ax)
    (line,) = ax.lines
    plt.close(fig)
    np.testing.assert_array_equal(line.get_ydata(), [np.nan, 3.0, np.nan])
    assert history_table([]).empty


def test_stored_history_begins_without_ratios():
    first, *others = read_history(STORED)
    assert first["version"] == "0.1.0" and others
    assert first["numbers"]["month, 2 workers"]["wall_s"] == 75
    assert all(row["cpu_ratio"] is None for row in first["numbers"].values())
    last = others[-1]
    assert last["numbers"]["month, 1 worker"]["cpu_ratio"] > 0
    assert last["stages"] and last["machine"]["cpu"]
