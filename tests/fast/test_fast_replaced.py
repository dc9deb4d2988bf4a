"""FAST files that are replaced, and states that say what cannot be."""

import json
import os
import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from lunar_potential.fast import extrema, orbit
from lunar_potential.fast.batch import FAST_plot_spectrograms_directory
from lunar_potential.fast.cli import _known_failures
from lunar_potential.fast.esa import read_esa
from lunar_potential.fast.extrema import compute_global_extrema, limits_of
from lunar_potential.fast.files import ChangedFile, content_hash, find_orbits
from lunar_potential.fast.generic import BatchSummary, GenericProgress, PictureOutcome
from lunar_potential.fast.plan import GRID, plan_orbits
from lunar_potential.fast.progress import Progress
from lunar_potential.fast.simulate import simulate_cdf
from lunar_potential.run.state import StateError

HERE = {
    "max_workers": 1,
    "orbit_timeout_seconds": None,
    "instrument_timeout_seconds": None,
    "use_extrema": False,
    "cusp_table": False,
    "dpi": 15,
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    "Pictures without content."
    for name in ("FAST_plot_pitch_angle_grid", "FAST_plot_instrument_grid"):
        monkeypatch.setattr(orbit, name, lambda *data, **look: Figure(figsize=(1, 1)))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    "Two files of one orbit, of equal size and with other numbers."
    folder = tmp_path_factory.mktemp("two")
    paths = [
        simulate_cdf(folder / f"{seed}", records=4, spoil=False, seed=seed).path
        for seed in (0, 1)
    ]
    size = max(path.stat().st_size for path in paths)
    for path in paths:  # what follows the records is nothing to a reader
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    assert content_hash(paths[0]) != content_hash(paths[1])
    return paths


@pytest.fixture
def data(two, tmp_path):
    "An archive with the first of them."
    (tmp_path / "data").mkdir()
    shutil.copy2(two[0], tmp_path / "data")
    return tmp_path / "data"


def replace(path, other):
    "Another content under the same name, of the same size and with the same time."
    before = path.stat()
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )


def draw(data, **options):
    return FAST_plot_spectrograms_directory(
        data, data.parent / "plots", **HERE | options
    )


# files of equal size


def test_pictures_of_a_replaced_file_are_drawn_again(data, two):
    draw(data)
    assert draw(data).table.empty
    replace(data / two[0].name, two[1])
    assert draw(data).table["outcome"].tolist() == ["drawn", "drawn"]


def test_limits_of_a_replaced_file_are_counted_anew(data, two, tmp_path):
    options = {"instrument_order": ("ees",)}
    first = compute_global_extrema(
        data, extrema_json_path=tmp_path / "a.json", **options
    )
    replace(data / two[0].name, two[1])
    again = compute_global_extrema(
        data, extrema_json_path=tmp_path / "a.json", **options
    )
    fresh = compute_global_extrema(
        data, extrema_json_path=tmp_path / "b.json", **options
    )
    assert again == fresh != first
    held = json.loads((tmp_path / "a.json").read_text())
    assert held["_pool"]["instruments"]["ees"]["files"] == {
        two[0].name: content_hash(two[1])
    }


def test_a_file_replaced_while_it_is_counted_is_kept_as_what_was_counted(
    data, two, tmp_path, monkeypatch
):
    inner, path = extrema.sketch_file, data / two[0].name

    def sketch_file(name):
        replace(path, two[1])  # after the plan, before the file is read
        found = inner(name)
        replace(path, two[0])
        return found

    monkeypatch.setattr(extrema, "sketch_file", sketch_file)
    options = {"extrema_json_path": tmp_path / "e.json", "instrument_order": ("ees",)}
    wrong = compute_global_extrema(data, **options)
    monkeypatch.setattr(extrema, "sketch_file", inner)
    right = compute_global_extrema(data, **options)
    assert right != wrong
    (tmp_path / "e.json").unlink()
    assert compute_global_extrema(data, **options) == right


class Swap:
    "Reads after the file was replaced, and puts the old one back."

    def __init__(self, path, other, back):
        self.path, self.other, self.back = path, other, back

    def __call__(self, path):
        replace(self.path, self.other)
        try:
            return read_esa(path)
        finally:
            replace(self.path, self.back)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_file_replaced_while_it_is_read_fails_and_is_drawn_next(
    data, two, tmp_path, monkeypatch, damaged
):
    other = Path(shutil.copy(two[1], tmp_path / "other.cdf"))
    if damaged:  # half written: no property of the file that is there at the end
        other.write_bytes(other.read_bytes()[:2000].ljust(other.stat().st_size, b"\0"))
    swap = Swap(data / two[0].name, other, two[0])
    monkeypatch.setattr(orbit, "read_esa", swap)  # it says which bytes it has parsed
    summary = draw(data, read=swap)
    failed = summary.failed.set_index("part")
    assert failed.loc["ees", "category"] == "generic"
    assert "was replaced while the batch ran" in failed.loc["ees", "message"]
    monkeypatch.undo()
    assert "drawn" in draw(data).table["outcome"].tolist()


def test_another_reader_is_checked_by_the_file(data, two, tmp_path):
    one = plan_orbits(data, tmp_path / "plots", cusp_table=False, read=lambda p: two)[0]
    replace(data / two[0].name, two[1])
    object.__setattr__(one, "read", lambda path: read_esa(two[0]))
    with pytest.raises(ChangedFile):
        orbit.read_unchanged(one, "ees")


def test_a_file_that_cannot_be_read_now_is_tried_again(data, two):
    assert content_hash(data) is None
    path = data / two[0].name
    path.unlink()
    path.mkdir()  # no file, but not missing either
    assert find_orbits(data) == {} and content_hash(path) is None


def test_a_picture_of_all_lacks_no_row_that_can_be_drawn(data, two, tmp_path):
    "The row failed, was drawn later, and the run was killed before the picture of all."
    shutil.copy(
        simulate_cdf(tmp_path / "ies", "ies", records=4, spoil=False).path, data
    )
    one = plan_orbits(data, tmp_path / "plots", cusp_table=False)[0]
    means, lost = {}, PictureOutcome("ees", "failed", "generic", "no memory")
    drawn = {"ees": lost, "ies": orbit.draw_instrument(one, "ies", means)}
    assert orbit.draw_grid(one, means, drawn).outcome == "drawn"
    again = {"ees": lost, "ies": orbit.draw_instrument(one, "ies", {})}
    assert orbit.draw_grid(one, {}, again).outcome == "skipped", "the same once more"
    orbit.draw_instrument(one, "ees", {})  # and killed
    later = {part: orbit.draw_instrument(one, part, {}) for part in one.files}
    assert {each.outcome for each in later.values()} == {"skipped"}
    assert orbit.draw_grid(one, {}, later).outcome == "drawn"
    assert orbit.draw_grid(one, {}, later).outcome == "skipped"


# states that say what cannot be

BROKEN = {
    "cut": '{"schema_version": 1, ',
    "deep": '{"a": ' + "[" * 200_000,
    "deep keys": '{"a":' * 100_000,
    "not finite": '{"schema_version": NaN}',
    "too large": '{"schema_version": 1e999}',
    "a list": "[]",
    "bytes": b"\xff\xfe{}",
    "of the future": '{"schema_version": 99}',
    "no version": '{"schema_version": true}',
    "a fraction of a version": '{"schema_version": 0.5}',
}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_states_are_refused_by_name(data, tmp_path, content):
    path = write(tmp_path / "state.json", content)
    for begin in (
        lambda **o: compute_global_extrema(data, extrema_json_path=path, **o),
        lambda **o: Progress(path, "linear_log", "raw-viridis", {}, **o),
        lambda **o: GenericProgress(path, [], **o),
    ):
        with pytest.raises(StateError, match=r"state\.json"):
            begin()
    with pytest.raises(StateError, match=r"state\.json"):
        _known_failures(BatchSummary(None, [1], path), "linear_log")
    assert Progress(path, "linear_log", "raw-viridis", {1: "a"}, ignore=True).todo()
    assert compute_global_extrema(
        data, extrema_json_path=path, ignore_progress_json=True
    )["schema_version"]


@pytest.mark.parametrize(
    "stored",
    [
        {"linear_log_done_orbits": {"raw": {"7.5": "a"}}},
        {"linear_log_done_orbits": {"raw": {"7": 3}}},
        {"linear_log_done_orbits": {"raw": {"-7": "a"}}},
        {"linear_log_done_orbits": ["7"]},
        {"linear_log_timed_out_orbits": 7},
        {"linear_log_editions": {"raw": 7}},
        {"linear_log_last_orbit": -1},
        {"linear_log_last_orbit": 3.0},
        {"ees_linear_log_error-timeout": [True]},
        {"ees_linear_log_error-timeout": [2**70]},
        {"ees_linear_log_error-timeout": "777"},
    ],
)
def test_orbits_have_numbers(tmp_path, stored):
    path = write(tmp_path / "p.json", json.dumps(stored))
    with pytest.raises(StateError, match=r"p\.json"):
        Progress(path, "linear_log", "raw-viridis", {})


@pytest.mark.parametrize(
    "stored",
    [
        {"completed_items": "abc"},
        {"completed_items": [["a"]]},
        {"no_data": {"a": 1}},
        {"errors": ["a"]},
        {"errors": {"a": {"category": 3}}},
        {"last_index": -2},
        {"last_index": "1"},
    ],
)
def test_items_have_names(tmp_path, stored):
    path = write(tmp_path / "p.json", json.dumps(stored))
    with pytest.raises(StateError, match=r"p\.json"):
        GenericProgress(path, [])


@pytest.mark.parametrize(
    "change",
    [
        {"counts": [-5]},
        {"counts": [2.5]},
        {"counts": [True]},
        {"counts": [2**64]},
        {"counts": [1, 2]},
        {"bins": [10**9]},
        {"bins": ["1"]},
        {"bins": [3, 2]},
        {"zeros": -1},
        {"zeros": None},
        {"ends": None},
        {"ends": [0.0, 5.0]},
        {"ends": [5.0, 1.0]},
        {"ends": [1.0]},
        {"ends": [1, 10**400]},
    ],
)
def test_counts_are_counts(data, tmp_path, change):
    path = tmp_path / "e.json"
    compute_global_extrema(data, extrema_json_path=path)
    held = json.loads(path.read_text())
    sketch = held["_pool"]["instruments"]["ees"]["z"]
    first = {"bins": sketch["bins"][:1], "counts": [3], "ends": [sketch["ends"][0]] * 2}
    sketch |= first | change
    path.write_text(json.dumps(held))
    with pytest.raises(StateError, match=r"e\.json"):
        compute_global_extrema(data, extrema_json_path=path)


def test_a_pool_without_a_histogram_is_no_pool(data, tmp_path):
    path = tmp_path / "e.json"
    compute_global_extrema(data, extrema_json_path=path)
    held = json.loads(path.read_text())
    del held["_pool"]["instruments"]["ees"]["z"]
    path.write_text(json.dumps(held))
    with pytest.raises(StateError, match=r"e\.json"):
        compute_global_extrema(data, extrema_json_path=path)


def test_limits_are_numbers():
    with pytest.raises(ValueError, match="ees_linear_log_z_max"):
        limits_of({"ees_linear_log_z_max": "3e7"}, "linear_log")


def test_simulated_files_are_the_same_bytes(tmp_path, monkeypatch):
    one, other = tmp_path / "one", tmp_path / "other"
    path = simulate_cdf(one, records=4, spoil=False).path
    monkeypatch.setattr("time.time", lambda: 1e9)  # gzip notes when it packs
    again = simulate_cdf(other, records=4, spoil=False).path
    assert content_hash(path) == content_hash(again)


def test_a_picture_says_what_it_is_made_of(data, tmp_path):
    one = plan_orbits(data, tmp_path, cusp_table=False)[0]
    assert one.hashes == {"ees": read_esa(one.files["ees"]).attrs["sha256"]}
    assert one.parts == ("ees", GRID)
