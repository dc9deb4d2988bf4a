"""The NPZ file: its keys, its bytes, whole or not at all, several as one."""

import dataclasses
import errno
import os
import stat
import zipfile

import numpy as np
import pytest
from simulated_days import DATES, SWEEPS, same_arrays, same_results

from lunar_potential import results as results_room
from lunar_potential.config import Config
from lunar_potential.pipeline import process_lp_file
from lunar_potential.results import (
    CacheError,
    count_sweeps,
    merge,
    merge_files,
    read_meta,
    read_results,
    write_results,
)
from lunar_potential.run.files import atomic_file
from lunar_potential.schema import schema

SEED_KEYS = """
rows_spec_no rows_utc rows_time rows_spacecraft_latitude rows_spacecraft_longitude
rows_projection_latitude rows_projection_longitude rows_spacecraft_potential
rows_projected_potential rows_spacecraft_in_sun rows_projection_in_sun spec_spec_no
spec_time_start spec_time_end spec_has_fit spec_row_count
""".split()


@pytest.fixture(scope="module")
def days(archive):
    return [process_lp_file(path, archive=archive) for path in archive.files()]


def test_keys_and_types(results, tmp_path):
    path = write_results(results, tmp_path / "potential_batch_all.npz")
    with np.load(path, allow_pickle=False) as data:
        assert set(SEED_KEYS) <= set(data)
        assert set(data) == set(schema())
        for key, field in schema().items():
            expected = "U" if field.dtype == "str" else np.dtype(field.dtype).kind
            assert data[key].dtype.kind == expected, key
        lengths = {
            prefix: {len(data[key]) for key in data if key.startswith(prefix)}
            for prefix in ("rows_", "spec_")
        }
    assert lengths == {"rows_": {results.n_sweeps * 15}, "spec_": {results.n_sweeps}}


def test_what_is_read_belongs_to_the_reader(results, tmp_path):
    path = write_results(results, tmp_path / "x.npz")
    changed = read_results(path)
    for values in (*changed.rows.values(), *changed.spec.values()):
        values[:] = values[::-1].copy()
    same_results(read_results(path), results)


def test_seed_example(results, tmp_path):
    data = np.load(write_results(results, tmp_path / "x.npz"))
    potentials = data["rows_projected_potential"]
    valid = np.isfinite(potentials)
    assert (
        0
        < valid.sum()
        < len(valid)
        == len(data["rows_projection_latitude"])
        == len(data["rows_projection_longitude"])
    )
    assert set(np.unique(data["rows_projection_in_sun"])) == {-1, 0, 1}


def test_round_trip_and_provenance(results, archive, tmp_path):
    path = write_results(results, tmp_path / "x.npz")
    same_results(read_results(path), results)
    meta = read_meta(path)
    assert meta["files"] == [f"3D{date[2:].replace('-', '')}.TAB" for date in DATES]
    assert set(meta["inputs"]) == {
        path.name for path in [*archive.kernels, archive.theta, archive.attitude]
    }
    assert (
        meta["config"] == Config().to_dict()
        and meta["schema_version"] == 3
        and meta["units"]["spec_u_surface"] == "V"
    )
    assert (
        set(meta["masked"]) == set(meta["files"])
        and sum(meta["masked"][meta["files"][0]].values()) > 0
    )


def test_same_results_same_bytes(results, tmp_path):
    one, two = (
        write_results(results, tmp_path / "one.npz"),
        write_results(results, tmp_path / "two.npz"),
    )
    assert one.read_bytes() == two.read_bytes()
    assert {info.date_time for info in zipfile.ZipFile(one).infolist()} == {
        (1980, 1, 1, 0, 0, 0)
    }


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(results, tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        path = write_results(results, tmp_path / "x.npz")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize(
    "where", ["os.fsync", "os.replace", "numpy.lib.format.write_array"]
)
def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    results, days, tmp_path, monkeypatch, where
):
    path = write_results(days[0], tmp_path / "x.npz")
    old = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(where, full)
    with pytest.raises(OSError, match="No space left"):
        write_results(results, path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == [
        "x.npz"
    ] and path.read_bytes() == old


def test_ctrl_c_while_writing(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "x") as handle:
        handle.write(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_unknown_missing_and_wrong_arrays_are_refused(days, tmp_path):
    day = days[0]
    for spec in (
        {**day.spec, "colour": day.spec["kappa"]},
        {n: a for n, a in day.spec.items() if n != "kappa"},
    ):
        with pytest.raises(KeyError, match="colour|kappa"):
            write_results(dataclasses.replace(day, spec=spec), tmp_path / "x.npz")
    with pytest.raises(TypeError, match="spec_flags"):
        write_results(
            dataclasses.replace(day, spec={**day.spec, "flags": day.spec["kappa"]}),
            tmp_path / "x.npz",
        )
    assert list(tmp_path.iterdir()) == []


def test_foreign_and_damaged_files_are_named(days, tmp_path):
    whole = write_results(days[0], tmp_path / "whole.npz").read_bytes()
    (tmp_path / "text.npz").write_bytes(b"hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bits.npz").write_bytes(whole[:5000] + b"\0" * 200 + whole[5200:])
    np.savez(tmp_path / "other.npz", a=1)
    np.savez(tmp_path / "future.npz", meta_schema_version=99)
    for name in ("text", "empty", "half", "bits", "other", "future"):
        with pytest.raises(CacheError, match=f"{name}.npz"):
            read_results(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError):
        read_results(tmp_path / "nowhere.npz")
    with pytest.raises(FileNotFoundError, match="holds no"):
        read_results(write_folder(tmp_path / "nothing"))


def write_folder(folder):
    folder.mkdir()
    return folder


def test_merging_days_is_processing_them_together(days, results, tmp_path):
    merged = merge(days)
    same_results(merged, results)
    assert merged.meta == results.meta
    one, two = (
        write_results(merged, tmp_path / "one.npz"),
        write_results(results, tmp_path / "two.npz"),
    )
    assert one.read_bytes() == two.read_bytes()
    with pytest.raises(CacheError, match="nothing to merge"):
        merge([])


def test_merge_refuses_different_settings(days, archive):
    other = process_lp_file(
        archive.files()[1], archive=archive, config=Config(u_spacecraft=3.0)
    )
    with pytest.raises(CacheError, match="different config"):
        merge([days[0], other])


@pytest.mark.parametrize(
    "start, end, expected",
    [
        (None, None, 3),
        ("1998-06-14", "1998-06-14", 1),
        ("1998-06-14", None, 2),
        (None, "1998-06-14", 2),
        ("1998-02-01", "1998-03-01", 0),
        (np.datetime64("1998-06-15"), None, 1),
    ],
)
def test_range_of_dates(results, tmp_path, start, end, expected):
    path = write_results(results, tmp_path / "potential_batch_all.npz")
    for source in (path, tmp_path):
        found = read_results(source, start, end)
        assert (
            found.n_sweeps == expected * SWEEPS
            and len(found.rows["utc"]) == expected * SWEEPS * 15
        )
    with pytest.raises(ValueError, match="backwards"):
        read_results(path, "1998-06-15", "1998-06-14")


def test_every_name_is_read_and_each_day_once(days, results, tmp_path):
    write_results(merge(days[1:]), tmp_path / "potential_batch_1998_06.npz")
    write_results(days[1], tmp_path / "potential_batch_1998_06_14.npz")
    write_results(days[0], tmp_path / "3D980120.npz")
    write_results(days[2], tmp_path / "3d980615.npz")
    (tmp_path / "shards").mkdir()
    write_results(days[2], tmp_path / "shards" / "3D980615.npz")
    (tmp_path / "notes.npz").write_bytes(b"not ours")
    same_results(read_results(tmp_path), results)


def test_two_versions_of_a_day_are_not_mixed(days, archive, tmp_path):
    write_results(merge(days), tmp_path / "potential_batch_1998.npz")
    write_results(
        process_lp_file(
            archive.files()[0], archive=archive, config=Config(u_spacecraft=3.0)
        ),
        tmp_path / "3D980120.npz",
    )
    with pytest.raises(
        CacheError,
        match="3D980120.TAB stands in .*potential_batch_1998.npz and.*3D980120.npz",
    ):
        read_results(tmp_path)


def test_counts_and_select(results, tmp_path):
    path = write_results(results, tmp_path / "x.npz")
    counts = count_sweeps(path)
    assert [row["sweeps"] for row in counts.values()] == [SWEEPS] * 3
    assert (
        sum(row["fitted"] for row in counts.values()) == results.spec["has_fit"].sum()
    )
    half = results.select(np.arange(results.n_sweeps) % 2 == 0)
    same_arrays(read_results(write_results(half, path)).rows, half.rows)


# --- merging files


@pytest.mark.parametrize("limit", [1, 2**10, 2**28])
def test_merged_files_have_the_bytes_of_merged_results(
    days, tmp_path, monkeypatch, limit
):
    monkeypatch.setattr(
        results_room, "MERGE_BYTES", limit
    )  # one array at a time, a few, all
    paths = [
        write_results(day, tmp_path / f"{number}.npz")
        for number, day in enumerate(days)
    ]
    merge_files(paths, tmp_path / "files.npz")
    write_results(merge(days), tmp_path / "results.npz")
    assert (tmp_path / "files.npz").read_bytes() == (
        tmp_path / "results.npz"
    ).read_bytes()


def test_a_damaged_file_is_named_and_nothing_is_written(days, tmp_path):
    whole, half = write_results(days[0], tmp_path / "whole.npz"), tmp_path / "half.npz"
    half.write_bytes(whole.read_bytes()[:-300])
    with pytest.raises(CacheError, match="half.npz"):
        merge_files([whole, half], tmp_path / "both.npz")
    assert not (tmp_path / "both.npz").exists() and not list(tmp_path.glob(".*"))
    with pytest.raises(CacheError, match="nothing"):
        merge_files([], tmp_path / "both.npz")
