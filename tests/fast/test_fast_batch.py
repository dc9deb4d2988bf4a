"""The FAST batch: what is done stays done, what fails is named, what hangs is ended.

Every example of its users runs.
"""

import argparse
import functools
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import psutil
import pytest
from fast_batch_work import Reader, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from lunar_potential import fast
from lunar_potential.fast import batch, deadlines, generic
from lunar_potential.fast import orbit as fast_orbit
from lunar_potential.fast.batch import FAST_plot_spectrograms_directory
from lunar_potential.fast.cli import add_fast_arguments, fast_command
from lunar_potential.fast.deadlines import Journal, orbit_outcomes
from lunar_potential.fast.esa import read_esa
from lunar_potential.fast.extrema import round_extrema
from lunar_potential.fast.generic import PictureOutcome, generic_batch_plot
from lunar_potential.fast.pitch import pitch_mean
from lunar_potential.fast.plan import GRID, Orbit, Style, picture_path
from lunar_potential.fast.progress import Progress
from lunar_potential.fast.simulate import FAULTS, simulate_archive, simulate_cdf
from lunar_potential.run.outcomes import Buffer, Outcome
from lunar_potential.run.signals import Interrupted
from lunar_potential.run.state import StateError
from lunar_potential.view.spectrogram.panels import save_picture

INSTRUMENTS = ("ees", "eeb", "ies", "ieb")
HERE = {
    "max_workers": 1,
    "orbit_timeout_seconds": None,
    "instrument_timeout_seconds": None,
    "use_extrema": False,
    "cusp_table": False,
    "dpi": 15,
}
PATIENT = 60.0  # deadline where healthy pictures have the same one as what hangs, s


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    "A small healthy file."
    return simulate_cdf(
        tmp_path_factory.mktemp("sample"), "ees", records=8, spoil=False
    ).path


@pytest.fixture
def reader(sample, tmp_path):
    (tmp_path / "notes").mkdir()
    return lambda faults=(): Reader(sample, tmp_path / "notes", dict(faults))


@pytest.fixture
def quick(monkeypatch):
    "Pictures without content, for tests of what becomes of them."
    for name in ("FAST_plot_pitch_angle_grid", "FAST_plot_instrument_grid"):
        monkeypatch.setattr(
            fast_orbit, name, lambda *data, **look: Figure(figsize=(1, 1))
        )


def touch(folder, orbits, instruments=("ees",)):
    "An archive of names; a `Reader` gives them content."
    for orbit in orbits:
        for instrument in instruments:
            path = (
                folder
                / "2000"
                / "01"
                / f"fa_esa_l2_{instrument}_20000120015800_{orbit:05d}_v02.cdf"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder


def errors(path):
    "Lists of failures in a file of progress."
    return {
        key: value
        for key, value in json.loads(Path(path).read_text()).items()
        if "_error-" in key
    }


# the file of progress


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 50),
    st.lists(st.integers(0, 40), max_size=3),
    st.randoms(use_true_random=False),
)
def test_resume_is_exact_in_any_order_after_any_kill(
    tmp_path_factory, count, size, kills, chance
):
    orbits, path = list(range(count)), tmp_path_factory.mktemp("p") / "progress.json"
    flushed = set()
    for kill in [*kills, None]:
        progress = Progress(
            path, "linear_log", "raw-viridis", dict.fromkeys(orbits, "a")
        )
        assert set(progress.done) == flushed and progress.todo() == [
            orbit for orbit in orbits if orbit not in flushed
        ], "what was flushed is never done again"
        order = progress.todo()
        chance.shuffle(order)
        buffer = Buffer(
            lambda batch: (
                progress.record(batch),
                flushed.update(orbit for orbit, _ in batch),
            ),
            size,
        )
        for orbit in order[:kill]:
            buffer.add((orbit, [PictureOutcome("ees", "drawn")]))
        assert len(set(order[:kill]) - flushed) <= size - 1
    buffer.flush()
    last = Progress(path, "linear_log", "raw-viridis", dict.fromkeys(orbits, "a"))
    assert last.todo() == [] and last.as_json()["linear_log_last_orbit"] == orbits[-1]


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(8)), st.integers(0, 8))
def test_last_orbit_is_never_beyond_one_that_is_missing(tmp_path_factory, order, count):
    progress = Progress(
        tmp_path_factory.mktemp("p") / "progress.json",
        "log_log",
        "raw-viridis",
        dict.fromkeys(range(8), "a"),
    )
    progress.record(
        [(orbit, [PictureOutcome("ees", "drawn")]) for orbit in order[:count]]
    )
    missing = min(set(range(8)) - set(order[:count]), default=8)
    assert progress.as_json().get("log_log_last_orbit", -1) == missing - 1


def test_which_failures_are_tried_again(tmp_path):
    progress = Progress(
        tmp_path / "p.json", "linear_log", "raw-viridis", dict.fromkeys(range(5), "a")
    )
    progress.record(
        [
            (n, [PictureOutcome("ees", "failed", reason)])
            for n, reason in enumerate(generic.REASONS)
        ]
    )
    again = Progress(
        tmp_path / "p.json", "linear_log", "raw-viridis", dict.fromkeys(range(5), "a")
    )
    by = dict(enumerate(generic.REASONS))
    assert [by[n] for n in again.todo()] == ["timeout", "plotting", "generic"]
    assert [by[n] for n in again.todo(retry_timeouts=False)] == ["plotting", "generic"]
    assert Progress(
        tmp_path / "p.json",
        "linear_log",
        "raw-viridis",
        dict.fromkeys(range(5), "other files"),
    ).todo() == [0, 1, 2, 3, 4]
    assert Progress(
        tmp_path / "p.json", "linear_log", "raw-plasma", dict.fromkeys(range(5), "a")
    ).todo() == [0, 1, 2, 3, 4]
    again.record([(0, [PictureOutcome("ees", "drawn")])])
    assert "ees_linear_log_error-timeout" not in json.loads(
        (tmp_path / "p.json").read_text()
    )


def test_scales_share_a_file(tmp_path):
    for scales in ("linear_log", "log_log"):
        Progress(tmp_path / "p.json", scales, "raw-viridis", {1: "a"}).record(
            [(1, [PictureOutcome("ees", "failed", "invalid-cdf")])]
        )
    fresh = Progress(
        tmp_path / "p.json", "linear_log", "raw-viridis", {1: "a"}, ignore=True
    )
    assert fresh.todo() == [1]
    fresh.record([(1, [PictureOutcome("ees", "drawn")])])
    held = json.loads((tmp_path / "p.json").read_text())
    assert (
        held["ees_log_log_error-invalid-cdf"] == [1]
        and "ees_linear_log_error-invalid-cdf" not in held
    )


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '"text"',
        '{"name": 1}',
        '{"linear_log_done_orbits": [1]}',
        '{"ees_linear_log_error-timeout": ["x"]}',
        '{"_pool": {}}',
    ],
)
def test_damaged_and_foreign_progress_is_refused(tmp_path, text):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(StateError, match="delete it, or ignore it"):
        Progress(tmp_path / "p.json", "linear_log", "raw-viridis", {1: "a"})
    assert (tmp_path / "p.json").read_text() == text
    assert Progress(
        tmp_path / "p.json", "linear_log", "raw-viridis", {1: "a"}, ignore=True
    ).todo() == [1]


def test_progress_of_older_programs_is_looked_at_again(tmp_path):
    old = {
        "linear_log_last_orbit": 3,
        "orbit_linear_log_timed_out": [2],
        "ees_linear_log_error-generic": ["2", 1],
        "linear_log_error_plotting": [1],
    }
    (tmp_path / "p.json").write_text(json.dumps(old))
    progress = Progress(
        tmp_path / "p.json",
        "linear_log",
        "raw-viridis",
        dict.fromkeys(range(1, 5), "a"),
    )
    assert progress.todo() == [1, 2, 3, 4], (
        "its last orbit says nothing about those before"
    )
    progress.record([(2, [PictureOutcome("ees", "drawn")])])
    held = json.loads((tmp_path / "p.json").read_text())
    assert (
        held["ees_linear_log_error-generic"] == [1]
        and "linear_log_last_orbit" not in held
        and held["linear_log_error_plotting"] == [1]
    )


# a batch


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_five_causes(tmp_path, reader, instrument):
    faults = dict(zip(range(101, 106), generic.REASONS))
    touch(tmp_path / "data", [100, *faults], (instrument,))
    summary = FAST_plot_spectrograms_directory(
        tmp_path / "data", tmp_path / "plots", read=reader(faults), **HERE
    )
    mine = {
        f"{instrument}_linear_log_error-{reason}": [orbit]
        for orbit, reason in faults.items()
    }
    assert errors(summary.progress_path) == mine | {
        "instrument_grid_linear_log_error-plotting": [104]
    }
    assert summary.failed.set_index(["orbit", "part"])["category"].to_dict() == {
        (orbit, instrument): reason for orbit, reason in faults.items()
    } | {(104, GRID): "plotting"}
    assert (
        all(summary.failed["message"])
        and (summary.table[summary.table["orbit"] == 100]["outcome"] == "drawn").all()
    )


def test_every_damaged_file_has_its_category(tmp_path):
    simulate_archive(
        tmp_path / "data",
        orbits=(13519,),
        instruments=("ees", "ieb"),
        records=8,
        spoil=False,
    )
    options = HERE | {
        "use_extrema": True,
        "extrema_json_path": tmp_path / "e.json",
        "cusp_table": None,
    }
    summary = FAST_plot_spectrograms_directory(
        tmp_path / "data", tmp_path / "plots", **options
    )
    zero = next(orbit for orbit, kind in FAULTS.items() if kind == "all-zero")
    assert errors(summary.progress_path) == {
        "ees_linear_log_error-divide-by-zero": [zero],
        "ees_linear_log_error-invalid-cdf": sorted(set(FAULTS) - {zero}),
    }
    assert (summary.table[summary.table["orbit"] == 13519]["outcome"] == "drawn").all()
    assert sorted(
        {path.parent.name for path in (tmp_path / "plots").rglob("*.png")}
    ) == ["13519"], "no file of what failed"
    assert (tmp_path / "plots" / batch.LOG).read_text().count("invalid-cdf") >= len(
        FAULTS
    ) - 1


def test_names_and_limits_of_pictures(tmp_path, monkeypatch):
    simulate_archive(
        tmp_path / "data",
        orbits=(13519,),
        instruments=("ees", "ies"),
        faults={},
        records=45,
        spoil=False,
    )
    drawn = {}
    monkeypatch.setattr(
        fast_orbit,
        "save_stamped",
        lambda figure, path, dpi, stamp: drawn.setdefault(path.name, figure) and path,
    )
    options = HERE | {
        "use_extrema": True,
        "extrema_json_path": tmp_path / "e.json",
        "cusp_table": None,
        "max_processing_percentile": 90.0,
    }
    summary = FAST_plot_spectrograms_directory(
        tmp_path / "data", tmp_path / "plots", "log", "log", **options
    )
    assert {Path(file).parent for file in summary.table["file"]} == {
        tmp_path / "plots" / "2000" / "01" / "13519"
    }
    end = "y-log_z-log_given_extrema-viridis.png"
    assert sorted(drawn) == [
        f"13519_cusp_pitch-angle_ESA_ees_{end}",
        f"13519_cusp_pitch-angle_ESA_ies_{end}",
        f"13519_instrument-grid_ESA_{end}",
    ]
    found = json.loads((tmp_path / "e.json").read_text())
    for instrument in ("ees", "ies"):
        flux = pitch_mean(
            read_esa(next((tmp_path / "data").rglob(f"*{instrument}*.cdf")))
        )
        assert found[f"{instrument}_log_log_z_max"] == pytest.approx(
            np.nanpercentile(flux[flux > 0], 90), rel=0.002
        )
        figure = drawn[f"13519_cusp_pitch-angle_ESA_{instrument}_{end}"]
        tops = [
            each.get_clim()[1]
            for ax in figure.axes
            for each in ax.get_children()
            if type(each).__name__ == "SpectrogramImage"
        ]
        assert len(tops) == 8 and set(tops) == {
            round_extrema(found[f"{instrument}_log_log_z_max"])
        }
    grid = [
        each
        for ax in drawn[f"13519_instrument-grid_ESA_{end}"].axes
        for each in ax.get_children()
        if type(each).__name__ == "SpectrogramImage"
    ]
    assert [each.get_clim()[1] for each in grid[::2]] == [
        round_extrema(found[f"{each}_log_log_z_max"]) for each in ("ees", "ies")
    ]


def test_second_run_reads_and_writes_nothing(tmp_path, reader, monkeypatch, quick):
    count, write = [], Progress.write
    monkeypatch.setattr(
        Progress, "write", lambda self: (count.append(len(self.done)), write(self))
    )
    touch(tmp_path / "data", range(4))

    def run(**options):
        return FAST_plot_spectrograms_directory(
            tmp_path / "data",
            tmp_path / "plots",
            read=reader(),
            **HERE | {"flush_batch_size": 3} | options,
        )

    assert set(run().table["outcome"]) == {"drawn"}
    assert count == [3, 4], "a write for each batch, and one at the end"
    assert len(reader().reads) == 4, "each file is read once for both of its pictures"
    assert len(run().table) == 0 and len(run().earlier) == 4 and len(count) == 2
    assert (
        set(run(ignore_progress_json=True).table["outcome"]) == {"skipped"}
        and len(reader().reads) == 4
    ), "pictures that exist are skipped before their data are read"
    assert set(run(override_plots=True).table["outcome"]) == {"drawn"}
    assert (
        set(run(override_plots=True, ignore_progress_json=True).table["outcome"])
        == {"drawn"}
        and len(run().table) == 0
    )


def test_flush_by_the_clock(tmp_path, reader, monkeypatch, quick):
    count, write = [], Progress.write
    monkeypatch.setattr(
        Progress, "write", lambda self: (count.append(len(self.done)), write(self))
    )
    touch(tmp_path / "data", range(4))
    slow = reader()
    FAST_plot_spectrograms_directory(
        tmp_path / "data",
        tmp_path / "plots",
        read=lambda path: time.sleep(0.2) or slow(path),
        flush_seconds=0.01,
        **HERE,
    )
    assert len(count) > 1 and count[-1] == 4


def archive_of_one(folder):
    "An orbit of two instruments, and a newer file for one of them, elsewhere."
    simulate_archive(
        folder / "data",
        orbits=(13519,),
        instruments=("ees", "ies"),
        faults={},
        records=45,
        spoil=False,
    )
    other = simulate_cdf(folder / "later", "ees", records=45, seed=5, spoil=False).path
    return next((folder / "data").rglob("*ees*.cdf")).with_name(
        other.name.replace("_v02", "_v03")
    ), other


def pixels(folder):
    return {path.name: plt.imread(path) for path in sorted(folder.rglob("*.png"))}


def differ(one, other):
    return [name for name in one if not np.array_equal(one[name], other.get(name))]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"hemisphere": "south"},
        {"zoom_duration_minutes": 0.2},
        {"read": functools.partial(read_esa, good_only=True)},
    ],
    ids=lambda change: next(iter(change), "the file"),
)
def test_old_pictures_are_drawn_again(tmp_path, change):
    place, other = archive_of_one(tmp_path)

    def run(target, **options):
        return FAST_plot_spectrograms_directory(
            tmp_path / "data",
            tmp_path / target,
            **HERE | {"cusp_table": None} | options,
        )

    run("plots")
    before = pixels(tmp_path / "plots")
    if not change:
        shutil.copy(other, place)
    assert (
        set(run("plots", **change).table["outcome"]) == {"drawn"}
        and len(run("plots", **change).table) == 0
    )
    run("fresh", **change)
    after = pixels(tmp_path / "plots")
    assert [*after] == [*pixels(tmp_path / "fresh")], (
        "a picture whose crossing is gone is gone, too"
    )
    assert not differ(after, pixels(tmp_path / "fresh")) and (
        differ(before, after) or "read" in change
    )
    assert set(run("plots", ignore_progress_json=True, **change).table["outcome"]) == {
        "skipped"
    }


def test_old_pictures_of_an_orbit_that_failed_are_drawn_again(tmp_path, reader):
    touch(tmp_path / "data", [1], ("ees", "ies"))

    def run(faults={}, **options):
        return (
            FAST_plot_spectrograms_directory(
                tmp_path / "data",
                tmp_path / "plots",
                read=reader(faults),
                **HERE | options,
            )
            .table.set_index("part")["outcome"]
            .to_dict()
        )

    assert run({(1, "ies"): "generic"}) == {
        "ees": "drawn",
        "ies": "failed",
        GRID: "drawn",
    }
    assert run(zoom_duration_minutes=None) == {
        "ees": "drawn",
        "ies": "drawn",
        GRID: "drawn",
    }


def test_pictures_of_other_programs_stay_and_are_not_called_done(tmp_path, reader):
    touch(tmp_path / "data", [1])

    def run(**options):
        return FAST_plot_spectrograms_directory(
            tmp_path / "data", tmp_path / "plots", read=reader(), **HERE | options
        )

    foreign = picture_path(tmp_path / "plots", 1, "ees", Style(given=False), "2000/01")
    save_picture(Figure(figsize=(1, 1)), foreign, 15)
    content = foreign.read_bytes()
    for _ in range(2):
        made = run().table.set_index("part")
        assert (
            made.loc["ees", "outcome"] == "skipped"
            and made.loc["ees", "message"] == fast_orbit.UNKNOWN
            and foreign.read_bytes() == content
        )
    assert (
        set(run(override_plots=True).table["outcome"]) == {"drawn"}
        and foreign.read_bytes() != content
        and len(run().table) == 0
    )


def test_other_limits_draw_again(tmp_path, monkeypatch):
    place, other = archive_of_one(tmp_path)
    drawn, save = {}, fast_orbit.save_stamped
    monkeypatch.setattr(
        fast_orbit,
        "save_stamped",
        lambda figure, path, dpi, stamp: (
            drawn.update({path.name: figure}) or save(figure, path, dpi, stamp)
        ),
    )
    options = HERE | {
        "use_extrema": True,
        "extrema_json_path": tmp_path / "e.json",
        "zoom_duration_minutes": None,
    }

    def tops(**more):
        drawn.clear()
        FAST_plot_spectrograms_directory(
            tmp_path / "data", tmp_path / "plots", **options | more
        )
        found = json.loads((tmp_path / "e.json").read_text())
        norms = [
            each.norm
            for name, figure in drawn.items()
            if name.startswith("13519_pitch-angle_ESA_ees")
            for ax in figure.axes
            for each in ax.get_children()
            if type(each).__name__ == "SpectrogramImage"
        ]
        assert {norm.vmax for norm in norms} <= {
            round_extrema(found["ees_linear_log_z_max"])
        }
        if more.get("compute_mins"):
            assert {norm.vmin for norm in norms} == {
                round_extrema(found["ees_linear_log_z_min"], False)
            }
        return len(norms)

    assert [
        tops(),
        tops(),
        tops(max_processing_percentile=70.0),
        tops(max_processing_percentile=70.0, compute_mins=True),
    ] == [4, 0, 4, 4]
    simulate_cdf(
        tmp_path / "data", "ees", 13530, "2000-01-21T00:00:00", records=12, blank=1e9
    )
    assert tops(max_processing_percentile=70.0) == 4 and len(drawn) == 5, (
        "new orbits that change the limits make all pictures old"
    )
    assert tops(max_processing_percentile=70.0) == 0


def test_override_goes_on_after_an_interrupt(tmp_path, reader, quick):
    touch(tmp_path / "data", range(4))

    def run(faults={}, **options):
        return FAST_plot_spectrograms_directory(
            tmp_path / "data", tmp_path / "plots", read=reader(faults), **HERE | options
        )

    run()
    with pytest.raises(Interrupted):
        run({2: "SIGINT"}, override_plots=True)
    rest = run()
    assert (
        rest.earlier == [0, 1]
        and rest.table["orbit"].unique().tolist() == [2, 3]
        and set(rest.table["outcome"]) == {"drawn"}
    )
    assert len(run().table) == 0


def test_a_hemisphere_that_is_a_function_is_new_unless_it_has_a_name(tmp_path, reader):
    touch(tmp_path / "data", [1])

    def run(hemisphere):
        return set(
            FAST_plot_spectrograms_directory(
                tmp_path / "data",
                tmp_path / "plots",
                read=reader(),
                hemisphere=hemisphere,
                **HERE,
            ).table["outcome"]
        )

    def latitude(degrees, name=None):
        def found(times):
            return np.full(len(times), degrees)

        if name:
            found.name = name
        return found

    assert [run(latitude(each)) for each in (50.0, 50.0, -50.0)] == [{"drawn"}] * 3
    assert [
        run(latitude(50.0, name))
        for name in ("north model", "north model", "other model")
    ] == [{"drawn"}, set(), {"drawn"}]
    with pytest.raises(ValueError, match="hemisphere is 'South'; give 'north'"):
        run("South")


def test_runs_that_share_a_file_keep_what_each_has_done(tmp_path):
    names = [
        (scales, look)
        for scales in ("linear_log", "log_log")
        for look in ("raw-viridis", "given_extrema-viridis")
    ]
    runs = [
        Progress(tmp_path / "p.json", *name, dict.fromkeys(range(9), "a"))
        for name in names
        for _ in range(2)
    ]
    for number, each in enumerate(runs):
        each.record([(number, [PictureOutcome("ees", "failed", "invalid-cdf")])])
        each.record([(8, [PictureOutcome("ees", "drawn")])])
    for index, name in enumerate(names):
        again = Progress(tmp_path / "p.json", *name, dict.fromkeys(range(9), "a"))
        assert sorted(again.done) == [2 * index, 2 * index + 1, 8]
    assert errors(tmp_path / "p.json") == {
        "ees_linear_log_error-invalid-cdf": [0, 1, 2, 3],
        "ees_log_log_error-invalid-cdf": [4, 5, 6, 7],
    }
    items = [generic.GenericProgress(tmp_path / "g.json", ["a", "b"]) for _ in range(2)]
    for each, name in zip(items, "ab"):
        each.record([(name, PictureOutcome("generic", "drawn"))])
    assert generic.GenericProgress(tmp_path / "g.json", ["a", "b"]).todo() == []


def test_ignored_progress_does_not_come_back(tmp_path):
    old, other = (
        Progress(tmp_path / "p.json", scales, "raw-viridis", {1: "a", 2: "a"})
        for scales in ("linear_log", "log_log")
    )
    old.record([(1, [PictureOutcome("ees", "drawn")])])
    anew = Progress(
        tmp_path / "p.json", "linear_log", "raw-viridis", {1: "a", 2: "a"}, ignore=True
    )
    other.record([(1, [PictureOutcome("ees", "drawn")])])
    anew.record([(2, [PictureOutcome("ees", "drawn")])])
    held = json.loads((tmp_path / "p.json").read_text())
    assert held["linear_log_done_orbits"]["raw-viridis"] == {"2": "a"} and held[
        "log_log_done_orbits"
    ]["raw-viridis"] == {"1": "a"}


def test_missing_row_is_added_later(tmp_path, reader, quick):
    touch(tmp_path / "data", [1], ("ees", "ies"))

    def run(faults):
        return (
            FAST_plot_spectrograms_directory(
                tmp_path / "data", tmp_path / "plots", read=reader(faults), **HERE
            )
            .table.set_index("part")["outcome"]
            .to_dict()
        )

    assert run({(1, "ies"): "generic"}) == {
        "ees": "drawn",
        "ies": "failed",
        GRID: "drawn",
    }
    assert run({}) == {"ees": "skipped", "ies": "drawn", GRID: "drawn"}


def test_arguments(tmp_path, reader):
    touch(tmp_path / "data", [1])
    with pytest.raises(TypeError, match="give a folder as directory_path or input_dir"):
        FAST_plot_spectrograms_directory(output_dir=tmp_path)
    with pytest.raises(TypeError, match="not both"):
        FAST_plot_spectrograms_directory(
            tmp_path / "data", tmp_path, input_dir=tmp_path / "data"
        )
    with pytest.raises(TypeError, match="output_base or output_dir, not both"):
        FAST_plot_spectrograms_directory(
            tmp_path / "data", tmp_path, output_dir=tmp_path
        )
    with pytest.raises(NotADirectoryError, match="nowhere"):
        FAST_plot_spectrograms_directory(tmp_path / "nowhere", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no file fa_esa_l2"):
        FAST_plot_spectrograms_directory(tmp_path / "empty", tmp_path)
    for wrong, match in (
        ({"colormap": "virdis"}, "no colour map"),
        ({"y_scale": "log10"}, "choose one of"),
        ({"cusp_marker_style": "dot"}, "choose one of"),
        ({"orbit_timeout_seconds": 0}, "positive"),
        ({"flush_batch_size": 0}, "positive"),
        ({"max_processing_percentile": 3}, "max_processing_percentile|max_percentile"),
    ):
        with pytest.raises(ValueError, match=match):
            FAST_plot_spectrograms_directory(
                tmp_path / "data",
                tmp_path / "plots",
                **HERE
                | {"use_extrema": True, "extrema_json_path": tmp_path / "e.json"}
                | wrong,
            )


# stops


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signal_ends_in_order(tmp_path, reader, name, quick):
    touch(tmp_path / "data", range(4))
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match="2 of 4 orbits finished"):
        FAST_plot_spectrograms_directory(
            tmp_path / "data", tmp_path / "plots", read=reader({2: name}), **HERE
        )
    assert [
        signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)
    ] == before
    held = json.loads((tmp_path / "plots" / batch.PROGRESS).read_text())
    assert (
        held["linear_log_last_orbit"] == 1
        and len(held["linear_log_done_orbits"]["raw-viridis"]) == 2
    )
    summary = FAST_plot_spectrograms_directory(
        tmp_path / "data", tmp_path / "plots", read=reader(), **HERE
    )
    assert summary.table["orbit"].unique().tolist() == [2, 3] and summary.earlier == [
        0,
        1,
    ]


def test_handlers_are_left_alone(tmp_path, reader, quick):
    touch(tmp_path / "data", [1])
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    for install in (True, False):
        FAST_plot_spectrograms_directory(
            tmp_path / "data",
            tmp_path / f"{install}",
            read=reader({1: "handlers"}),
            install_signal_handlers=install,
            **HERE,
        )
        assert [
            signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)
        ] == before
        assert ((tmp_path / "notes" / "handlers").read_text() == repr(before)) == (
            not install
        )


def test_handlers_and_flush_after_an_exception(tmp_path, reader, monkeypatch, quick):
    touch(tmp_path / "data", range(4))
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    settled = deadlines.orbit_outcomes

    def fails_at_three(orbit, outcome):
        if orbit.number == 3 and not failed:
            failed.append(orbit)
            raise OSError("no space left")
        return settled(orbit, outcome)

    failed = []
    monkeypatch.setattr(deadlines, "orbit_outcomes", fails_at_three)
    with pytest.raises(OSError, match="no space"):
        FAST_plot_spectrograms_directory(
            tmp_path / "data",
            tmp_path / "plots",
            read=reader(),
            **HERE | {"flush_batch_size": 2},
        )
    assert [
        signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)
    ] == before
    held = json.loads((tmp_path / "plots" / batch.PROGRESS).read_text())
    assert sorted(map(int, held["linear_log_done_orbits"]["raw-viridis"])) == [
        0,
        1,
        2,
        3,
    ], "the batch that failed is handed over again at the end"


def test_sigkill_loses_less_than_a_batch(tmp_path, reader):
    touch(tmp_path / "data", range(6))
    code = f"""
from pathlib import Path
from fast_batch_work import Reader
from lunar_potential.fast import FAST_plot_spectrograms_directory

FAST_plot_spectrograms_directory(
    {str(tmp_path / "data")!r},
    {str(tmp_path / "plots")!r},
    read=Reader(
        Path({str(reader().sample)!r}), Path({str(tmp_path / "notes")!r}), {{5: "dies"}}
    ),
    flush_batch_size=3,
    **{HERE!r},
)
"""
    killed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        timeout=900,
    )
    assert killed.returncode == -signal.SIGKILL
    held = json.loads((tmp_path / "plots" / batch.PROGRESS).read_text())
    done = sorted(map(int, held["linear_log_done_orbits"]["raw-viridis"]))
    assert done == [0, 1, 2], "5 were finished, 2 of them lost"
    assert not list((tmp_path / "plots").rglob(".*.tmp"))
    summary = FAST_plot_spectrograms_directory(
        tmp_path / "data", tmp_path / "plots", read=reader(), **HERE
    )
    outcome = summary.table.groupby("orbit")["outcome"].agg(set).to_dict()
    assert outcome == {
        orbit: {"skipped"} if orbit < 5 else {"drawn"} for orbit in range(3, 6)
    }
    assert sorted(orbit for orbit, _ in reader().reads) == [0, 1, 2, 3, 4, 5, 5], (
        "only what was not finished is read twice"
    )


# deadlines


def hung_processes(folder):
    "Processes that hung, by the notes that they left."
    notes = [path.name[4:] for path in folder.glob("pid *")]
    return [int(text) for text in [*notes, (folder / "inner").read_text()]]


def runs(pid):
    "Whether a process is alive."
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_hangs_is_ended_and_neighbours_are_drawn(tmp_path, reader):
    kinds = {1: "python", 2: "c", 3: "child of a child"}
    touch(tmp_path / "data", range(4), ("ees", "ies"))
    faults = {(orbit, "ees"): kind for orbit, kind in kinds.items()}
    options = HERE | {
        "max_workers": 3,
        "orbit_timeout_seconds": 900,
        "instrument_timeout_seconds": PATIENT,
    }
    summary = FAST_plot_spectrograms_directory(
        tmp_path / "data", tmp_path / "plots", read=reader(faults), **options
    )
    assert errors(summary.progress_path) == {"ees_linear_log_error-timeout": [1, 2, 3]}
    assert len(summary.failed) == 3 and (summary.table["outcome"] == "drawn").sum() == 9
    assert "in hangs" in summary.failed["message"].iloc[0]
    hung = hung_processes(tmp_path / "notes")
    assert len(hung) == 4, "three workers and the child of a child"
    while any(runs(pid) for pid in hung):  # what is not ended hangs here
        time.sleep(0.1)


def test_deadline_of_an_orbit(tmp_path, reader):
    touch(tmp_path / "data", [1], ("ees", "ies"))
    options = HERE | {"orbit_timeout_seconds": 3, "instrument_timeout_seconds": None}
    summary = FAST_plot_spectrograms_directory(
        tmp_path / "data", tmp_path / "plots", read=reader({1: "c"}), **options
    )
    assert summary.failed["part"].tolist() == ["ees", "ies", GRID] and set(
        summary.failed["category"]
    ) == {"timeout"}


def test_journal_settles_what_is_known(tmp_path):
    one = Orbit(
        1,
        {each: tmp_path / each for each in INSTRUMENTS},
        tmp_path,
        Style(),
        None,
        journal=tmp_path / "1",
        deadlines=(20.0, 8.0),
    )
    journal = Journal(one.journal)
    journal.end(PictureOutcome("ees", "drawn", seconds=6.5))
    journal._write({"begin": "eeb", "limit": 8.0})
    died = Outcome(item=one, category="died", reason="gone")
    assert orbit_outcomes(one, died) is None, "some are still to be tried"
    (tmp_path / "1.eeb").write_text(
        "Timeout (0:00:08)!\nThread 0x1 (most recent call first):\n"
        '  File "/a/b.py", line 7 in stuck\n'
    )
    made = orbit_outcomes(
        one,
        Outcome(item=one, category="timeout", reason="not finished within 20 s"),
    )
    assert [(each.part, each.outcome, each.category) for each in made] == [
        ("ees", "drawn", "")
    ] + [(each, "failed", "timeout") for each in ("eeb", "ies", "ieb", GRID)]
    assert (
        made[1].message == "not finished within 8 s, b.py line 7, in stuck"
        and "deadline of its orbit" in made[2].message
    )
    journal._write({"begin": "ies", "limit": 5.5})
    assert deadlines.lost_picture(Journal(one.journal), "ies") is None, (
        "a second chance"
    )
    journal._write({"begin": "ies", "limit": 5.5})
    assert (
        deadlines.lost_picture(Journal(one.journal), "ies").message
        == "its worker process died twice"
    )
    assert (
        Journal(one.journal).used == 14.5
        and deadlines.time_left(one, Journal(one.journal)) == 5.5
    ), "what is left of the orbit"
    with open(one.journal, "a") as file:
        file.write('{"picture": {"part": "ie')
    assert list(Journal(one.journal).outcomes) == ["ees"], (
        "a line that was not finished"
    )


# any data


def test_generic_batch(tmp_path):
    alone = {"max_workers": 1, "item_timeout_seconds": None, "dpi": 15}
    summary = generic_batch_plot(range(7), tmp_path, rows, **alone)
    assert summary.table["outcome"].tolist() == [
        "skipped",
        "drawn",
        "drawn",
        "drawn",
        "drawn",
        "skipped",
        "drawn",
    ]
    held = json.loads(summary.progress_path.read_text())
    assert held == {
        "schema_version": 1,
        "completed_items": ["1", "2", "3", "4", "6"],
        "no_data": ["0", "5"],
        "errors": {},
        "last_index": 6,
    }
    assert all(
        (tmp_path / name / "generic.png").read_bytes().startswith(b"\x89PNG")
        for name in held["completed_items"]
    )
    again = generic_batch_plot(range(9), tmp_path, rows, **alone)
    assert again.table["item"].tolist() == ["7", "8"] and len(again.earlier) == 7
    with pytest.raises(StateError, match="keys"):
        generic_batch_plot(
            range(3),
            tmp_path,
            rows,
            progress_json_path=touch_json(tmp_path / "foreign.json"),
            **alone,
        )
    with pytest.raises(ValueError, match="names of folders"):
        generic_batch_plot(["a/b", ".."], tmp_path, rows, **alone)
    with pytest.raises(ValueError, match="positive"):
        generic_batch_plot([1], tmp_path, rows, flush_batch_size=0)


def touch_json(path):
    path.write_text('{"linear_log_last_orbit": 1}')
    return path


def test_generic_batch_in_workers(tmp_path):
    factor = 3.0

    def local(item):
        return [row | {"z_max": factor} for row in rows(item)]

    summary = generic_batch_plot(
        [1, -4, 2],
        tmp_path,
        local,
        max_workers=3,
        item_timeout_seconds=PATIENT,
        dpi=15,
    )
    assert summary.failed["item"].tolist() == ["-4"] and summary.failed[
        "category"
    ].tolist() == ["timeout"]
    held = json.loads(summary.progress_path.read_text())
    assert (
        sorted(held["completed_items"]) == ["1", "2"]
        and held["errors"]["-4"]["category"] == "timeout"
        and held["last_index"] == 0
    )
    assert not len(
        generic_batch_plot([1, -4, 2], tmp_path, local, retry_timeouts=False).table
    )


# the examples of the users' guide

EXAMPLES = [
    """
from lunar_potential.fast import FAST_plot_spectrograms_directory

FAST_plot_spectrograms_directory(
    input_dir="FAST_data",
    output_dir="FAST_plots",
    flush_batch_size=10,          # write extrema/progress every 10 orbits
    log_flush_batch_size=20,      # log buffer larger than JSON flush
)
""",
    """
from lunar_potential.fast import (
  compute_global_extrema, FAST_plot_spectrograms_directory
)

extrema = compute_global_extrema(
  directory_path="FAST_data",
  y_scale="linear",
  z_scale="log",
  flush_batch_size=20,
)

FAST_plot_spectrograms_directory(
  directory_path="FAST_data",
  y_scale="linear",
  z_scale="log",
  flush_batch_size=20,
  log_flush_batch_size=20,
)
""",
    """
from lunar_potential.fast import FAST_plot_spectrograms_directory

FAST_plot_spectrograms_directory(
  input_dir="FAST_data",      # path containing CDF files
  output_dir="FAST_plots",    # destination for generated figures
)
""",
    """
FAST_plot_spectrograms_directory(
  input_dir="FAST_data",
  output_dir="FAST_plots",
  y_scale="linear",
  z_scale="log",
  flush_batch_size=25,          # write extrema/progress every 25 orbits
  log_flush_batch_size=50,      # less frequent log writes
  max_workers=6,                # increase parallelism
  orbit_timeout_seconds=90,     # orbit-level timeout
  instrument_timeout_seconds=45,
)
""",
    """
FAST_plot_spectrograms_directory(
  input_dir="FAST_data",
  output_dir="FAST_plots",
  flush_batch_size=10,
)  # continues where previous run left off
""",
    """
FAST_plot_spectrograms_directory(
  input_dir="FAST_data",
  output_dir="FAST_plots",
  ignore_progress_json=True,  # disregard existing progress JSON
)
""",
    """
from lunar_potential.fast import compute_global_extrema
state = compute_global_extrema(
  directory_path="FAST_data",
  y_scale="linear",
  z_scale="log",
  instrument_order=("ees", "eeb", "ies", "ieb"),
  extrema_json_path="FAST_calculated_extrema.json",
  max_percentile=95.0,      # matches FAST_plot_spectrograms_directory default
  flush_batch_size=20,
)
print("Updated extrema keys:", [k for k in state.keys() if k.endswith("_z_max")])
""",
    """
FAST_plot_spectrograms_directory(
  input_dir="FAST_data",
  output_dir="FAST_plots",
  flush_batch_size=1,       # per-orbit JSON writes
  log_flush_batch_size=1,   # immediate log emission
)
""",
    """
FAST_plot_spectrograms_directory(
  input_dir="FAST_data",
  output_dir="FAST_plots",
  flush_batch_size=50,
  log_flush_batch_size=50,
  max_workers=8,
  max_processing_percentile=97.5,  # use a different intensity percentile
)
""",
]


def test_examples_run(tmp_path):
    "Each is a script of its own, in the order of the guide, in one folder."
    simulate_archive(
        tmp_path / "FAST_data",
        orbits=(13519,),
        instruments=("ees",),
        faults={},
        records=8,
        spoil=False,
    )
    imports, said, pictures = EXAMPLES[0].strip().splitlines()[0], "", []
    for text in EXAMPLES:
        (tmp_path / "script.py").write_text(
            text if "import" in text else f"{imports}\n{text}"
        )
        found = subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert (found.returncode, found.stderr) == (0, "")
        said += found.stdout
        pictures.append(
            sorted(
                path.read_bytes() for path in (tmp_path / "FAST_plots").rglob("*.png")
            )
        )
    assert said == "Updated extrema keys: ['ees_linear_log_z_max']\n"
    assert [len(each) for each in pictures] == [2] * len(EXAMPLES) and pictures[
        0
    ] == pictures[-2] != pictures[-1], "the last example has another percentile"
    folder = tmp_path / "FAST_plots" / "2000" / "01" / "13519"
    assert sorted(path.name for path in folder.iterdir()) == [
        "13519_instrument-grid_ESA_y-linear_z-log_given_extrema-viridis.png",
        "13519_pitch-angle_ESA_ees_y-linear_z-log_given_extrema-viridis.png",
    ]
    assert (
        json.loads((tmp_path / "FAST_plots" / batch.PROGRESS).read_text())[
            "linear_log_last_orbit"
        ]
        == 13519
    )


def test_names_of_the_scripts_are_here():
    wanted = (
        "FAST_plot_spectrograms_directory",
        "compute_global_extrema",
        "FAST_plot_pitch_angle_grid",
        "FAST_plot_instrument_grid",
        "generic_batch_plot",
        "make_spectrogram",
        "generic_plot_spectrogram_set",
        "round_extrema",
    )
    assert all(callable(getattr(fast, name)) for name in wanted) and set(wanted) <= set(
        fast.__all__
    )
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        fast.nonsense
    code = (
        "import sys, lunar_potential.fast, lunar_potential.fast.cli\n"
        "heavy = 'numpy', 'pandas', 'xarray', 'matplotlib', 'cdflib'\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_command_tells_what_is_left_of_timeouts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    simulate_archive(
        "data", orbits=(13519,), instruments=("ees",), faults={}, records=8, spoil=False
    )
    parser = argparse.ArgumentParser()
    add_fast_arguments(parser)

    def call(*words):
        return fast_command(
            parser.parse_args(
                [
                    "plot",
                    "data",
                    "-o",
                    "plots",
                    "--workers",
                    "1",
                    "--dpi",
                    "15",
                    "--raw",
                    "--quiet",
                    "--orbit-timeout",
                    "900",
                    "--instrument-timeout",
                    "900",
                    *words,
                ]
            )
        )

    assert call("--instrument-timeout", "0.0001") == 1
    assert "ees: timeout" in capsys.readouterr().out
    assert call("--no-retry-timeouts") == 1
    out = capsys.readouterr().out
    assert (
        "1 of those done earlier were not finished in time, "
        "and are left with --no-retry-timeouts: orbits 13519"
        in out
        and "until their files" not in out
    )
    assert call() == 0 and call("--no-retry-timeouts") == 0
    (tmp_path / "afile").touch()
    with pytest.raises(FileExistsError, match="afile is a file"):
        call("-o", "afile")


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    simulate_archive(
        "data",
        orbits=(13519,),
        instruments=("ees",),
        faults={13602: "not-cdf"},
        records=8,
        spoil=False,
    )
    parser = argparse.ArgumentParser()
    add_fast_arguments(parser)

    def call(*words):
        return fast_command(parser.parse_args([*words]))

    assert (
        call(
            "plot",
            "data",
            "-o",
            "plots",
            "--workers",
            "1",
            "--dpi",
            "15",
            "--raw",
            "--cusp-style",
            "line",
            "--orbit-timeout",
            "900",
            "--instrument-timeout",
            "900",
        )
        == 1
    )
    out = capsys.readouterr().out
    assert "2 orbits" in out and "orbit 13602, ees: invalid-cdf: NotCDF" in out
    assert (
        call(
            "plot",
            "data",
            "-o",
            "plots",
            "--raw",
            "--dpi",
            "15",
            "--cusp-style",
            "line",
        )
        == 1
    ), "what failed because of its file is not tried again, but missing"
    assert (
        "0 drawn, 0 skipped, 0 failed\n1 of those done earlier failed, "
        "and are left until their files change: orbits 13602\n"
        in capsys.readouterr().out
    )
    assert (
        call(
            "orbit",
            str(next(Path("data").rglob("*13519*"))),
            "-o",
            "one.png",
            "--dpi",
            "15",
        )
        == 0
        and Path("one.png").exists()
    )
