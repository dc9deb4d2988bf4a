"""What is parsed is what is hashed, whatever becomes of the files meanwhile."""

import hashlib

import numpy as np
import pytest
from simulated_days import same_arrays, same_results

from lunar_potential import batch
from lunar_potential.batch import run_batch
from lunar_potential.data.archive import file_hash
from lunar_potential.data.er.erdata import ERData, concat
from lunar_potential.pipeline import load_all_data, process_lp_file, process_merged_data
from lunar_potential.results import read_results
from lunar_potential.run.files import OutputError
from lunar_potential.shards import Period

JUNE = Period(1998, 6)


def changed_table(path):
    "The same table with one field of every row turned, in as many bytes."
    lines = path.read_bytes().split(b"\r\n")[:-1]
    turned = [line[:62] + line[72:82] + line[62:72] + line[82:] for line in lines]
    return b"\r\n".join(turned) + b"\r\n"


def changed_attitude(path):
    return path.read_bytes().replace(b",  8", b", -8")


def changed_theta(path):
    return b" ".join(path.read_bytes().split()[::-1])


CHANGES = {"table": changed_table, "theta": changed_theta, "attitude": changed_attitude}


def path_of(archive, what):
    return archive.files()[1] if what == "table" else getattr(archive, what)


def hash_in(meta, path):
    return {**meta["inputs"], **dict(zip(meta["files"], meta["file_sha256"]))}[
        path.name
    ]


@pytest.mark.parametrize("what", CHANGES)
def test_results_carry_the_hash_of_what_was_parsed(own_archive, results, what):
    "The file is replaced while the sweeps are fitted."
    path = path_of(own_archive, what)
    before, later = path.read_bytes(), CHANGES[what](path)
    assert later != before

    def replace(n_sweeps):
        path.write_bytes(later)

    er = load_all_data(own_archive.files()[1:2], own_archive.theta)
    found = process_merged_data(er, archive=own_archive, progress=replace)
    assert path.read_bytes() == later
    assert hash_in(found.meta, path) == hashlib.sha256(before).hexdigest()
    again = process_lp_file(own_archive.files()[1], archive=own_archive)
    assert hash_in(again.meta, path) == file_hash(path)
    assert found.meta["file_fingerprint"] != again.meta["file_fingerprint"]
    fitted = found.spec["u_surface"], again.spec["u_surface"]
    assert not np.array_equal(*fitted, equal_nan=True)


@pytest.mark.parametrize("what", CHANGES)
def test_a_day_of_other_bytes_than_planned_fails_and_is_made_again(
    own_archive, tmp_path, monkeypatch, what
):
    "The file is replaced after the plan and before the day is read."
    path, plan = path_of(own_archive, what), batch.plan_days
    later = CHANGES[what](path)

    def plan_and_replace(*args):
        items = plan(*args)
        path.write_bytes(later)
        return items

    monkeypatch.setattr(batch, "plan_days", plan_and_replace)
    data, out = own_archive.root, tmp_path / "out"
    if what == "table":
        run = run_batch(JUNE, data, out, n_jobs=1, quiet=True)
        assert run.days["status"].tolist() == ["failed", "done"]
        assert f"{path} changed while" in run.days["reason"][0]
        assert run.results.meta["files"] == ["3D980615.TAB"]
        assert len(list((out / "shards").glob("*.npz"))) == 1
    else:
        with pytest.raises(OutputError, match="attitude.tab or the package changed"):
            run_batch(JUNE, data, out, n_jobs=1, quiet=True)
        assert not list(out.rglob("*.npz"))
    monkeypatch.undo()
    run = run_batch(JUNE, data, out, n_jobs=1, quiet=True)
    assert run.days["fitted"].all() and not run.results.meta["failed"]
    own = [process_lp_file(each, archive=own_archive) for each in own_archive.files()]
    one = run.results.spec["file_index"] == 0
    np.testing.assert_array_equal(
        run.results.spec["u_surface"][one], own[1].spec["u_surface"]
    )
    assert hash_in(run.results.meta, path) == file_hash(path)


def test_frames_and_arrays_never_carry_the_hash_of_a_file(er, archive):
    path = er.files[0]
    frame = er.to_frame()
    frame = frame[frame["file"] == path].assign(bx=1.0)
    some = ERData.from_dataframe(frame, er.theta)
    assert some.files == [path] and some.sha256 == [""]
    meta = process_merged_data(some.select([0, 1]), archive=archive).meta
    assert meta["file_sha256"] != [file_hash(path)]
    assert meta["inputs"]["theta.tab"] != file_hash(archive.theta)


def test_parts_of_a_file_that_changed_are_not_joined(own_archive):
    path = own_archive.files()[0]
    first = ERData.from_files([path], own_archive.theta)
    path.write_bytes(changed_table(path))
    second = ERData.from_files([path], own_archive.theta)
    assert first.sha256 != second.sha256 == [file_hash(path)]
    with pytest.raises(ValueError, match="before and after it changed"):
        concat([first.select([0]), second.select([1])])


def test_a_table_with_each_record_twice_gives_the_same_potentials(own_archive, results):
    for path in own_archive.files():
        lines = path.read_bytes().split(b"\r\n")[:-1]
        path.write_bytes(b"".join(line + b"\r\n" for line in lines for _ in range(2)))
    er = load_all_data(own_archive.files(), own_archive.theta)
    twice = process_merged_data(er, archive=own_archive)
    same_arrays(twice.rows, results.rows)
    same_arrays(twice.spec, results.spec)
    assert twice.rejected["n_rows"].sum() == len(results.rows["time"])
    assert not twice.rejected["lost"].any()


def test_marked_files_give_the_same_potentials(own_archive, results, tmp_path):
    for path in (own_archive.theta, own_archive.attitude, *own_archive.files()):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    run = run_batch(Period(), own_archive.root, tmp_path, n_jobs=1, quiet=True)
    same_results(read_results(run.paths[0]), results)
