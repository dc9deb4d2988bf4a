"""Result files that are damaged, that contradict themselves, or that claim the moon."""

import dataclasses
import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated_days import SWEEPS, same_results

from lunar_potential.pipeline import process_lp_file
from lunar_potential.results import (
    CacheError,
    count_sweeps,
    merge_files,
    read_meta,
    read_rejected,
    read_results,
    verify_results,
    write_results,
)

FUZZ = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def day(archive):
    return process_lp_file(archive.files()[0], archive=archive)


@pytest.fixture(scope="module")
def whole(day, tmp_path_factory):
    "A result file, not to be changed."
    return write_results(day, tmp_path_factory.mktemp("whole") / "whole.npz")


def with_changed(whole, path, **changes):
    "A copy in which arrays are others, or of other names and values."
    with np.load(whole) as data:
        np.savez(path, **{**data, **changes})
    return path


def as_bytes(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0))
    return buffer.getvalue()


def with_members(whole, path, **members):
    "A copy in which the bytes of some members are others, without a wrong checksum."
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            content = members.get(info.filename.removesuffix(".npy"), old.read(info))
            new.writestr(info.filename, content, zipfile.ZIP_DEFLATED)
    return path


READERS = [
    read_meta,
    read_rejected,
    read_results,
    count_sweeps,
    verify_results,
    lambda path: merge_files([path], path.with_name("merged.npz")),
]


def refused(path, key):
    "Asserts that every reader names the file and the array."
    for reader in READERS:
        with pytest.raises(CacheError, match=f"(?s){path.name}.*{key}"):
            reader(path)


# ---- contradictions


CONTRADICTIONS = {
    "a short array": ("spec_kappa", lambda a: a[:-1]),
    "a long array": ("rows_energy", lambda a: np.append(a, a)),
    "an empty array": ("spec_u_surface", lambda a: a[:0]),
    "another type": ("spec_flags", lambda a: a.astype(float)),
    "another precision": ("spec_u_surface", lambda a: a.astype(np.float32)),
    "another byte order": ("spec_kappa", lambda a: a.astype(">f8")),
    "numbers as text": ("rows_time", lambda a: a.astype(str)),
    "text as numbers": ("rows_set_kind", lambda a: np.zeros(len(a))),
    "time of another unit": ("rows_utc", lambda a: a.astype("datetime64[ms]")),
    "a table": ("rows_energy", lambda a: a[:, None]),
    "a single value": ("spec_identified", lambda a: a[0]),
    "a list for a value": ("meta_config", lambda a: np.array([a, a])),
    "a value for a list": ("meta_files", lambda a: a[0]),
    "two hashes for a file": ("meta_file_sha256", lambda a: np.append(a, a)),
    "rows by the thousand": ("spec_row_count", lambda a: 1000 * a),
    "rows less than none": ("spec_row_count", lambda a: -a),
    "one row too many": ("spec_row_count", lambda a: a + (np.arange(len(a)) == 3)),
    "rows that overflow": ("spec_row_count", lambda a: a + 2**62),
    "a file that is not there": ("spec_file_index", lambda a: a + 1),
    "a file before the first": ("spec_file_index", lambda a: a - 1),
    "a number below none": ("spec_file_spec_no", lambda a: -a),
    "a number above the last": ("meta_file_last_spec_no", lambda a: a // 2),
    "a count below none": ("meta_file_last_spec_no", lambda a: -a),
    "a text of any length": ("rows_set_kind", lambda a: a.astype("<U100")),
    "cut JSON": ("meta_config", lambda a: np.array(str(a)[:-1])),
    "no JSON object": ("meta_inputs", lambda a: np.array("[]")),
    "JSON without end": ("meta_units", lambda a: np.array("[" * 200_000)),
    "JSON that is not finite": ("meta_config", lambda a: np.array('{"x": NaN}')),
    "JSON beyond all numbers": ("meta_masked", lambda a: np.array('{"x": 1e999}')),
    "counts that are none": ("meta_masked", lambda a: np.array('{"x": {"y": -1}}')),
    "counts in part": ("meta_masked", lambda a: np.array('{"x": {"y": 0.5}}')),
    "a reason that is none": ("meta_failed", lambda a: np.array('{"x": 3}')),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_arrays_that_contradict_the_schema_or_each_other(whole, tmp_path, what):
    key, change = CONTRADICTIONS[what]
    with np.load(whole) as data:
        changed = change(data[key])
    path = with_changed(whole, tmp_path / "changed.npz", **{key: changed})
    problem = read_problem(path)
    assert "changed.npz" in problem and key in problem, problem


def read_problem(path):
    "What `read_results` says."
    with pytest.raises(CacheError) as caught:
        read_results(path)
    return str(caught.value)


def test_rows_of_other_sweeps(whole, tmp_path):
    with np.load(whole) as data:
        turned = data["rows_spec_no"][::-1]
    path = with_changed(whole, tmp_path / "turned.npz", rows_spec_no=turned)
    with pytest.raises(CacheError, match="turned.npz: rows_spec_no"):
        read_results(path)


def test_a_file_twice(archive, results, tmp_path):
    path = write_results(results, tmp_path / "whole.npz")
    names = np.array(["3D980120.TAB"] * 3)
    twice = with_changed(path, tmp_path / "twice.npz", meta_files=names)
    with pytest.raises(CacheError, match="twice.npz.*meta_files names a file twice"):
        read_meta(twice)
    with np.load(path) as data:
        index = data["spec_file_index"][::-1]
    turned = with_changed(path, tmp_path / "turned.npz", spec_file_index=index)
    with pytest.raises(CacheError, match="turned.npz: spec_file_index is not in order"):
        count_sweeps(turned)


@pytest.mark.parametrize("version", [4, 99, 1, 0, -1, 2**62])
def test_other_versions_are_refused_and_later_ones_say_so(whole, tmp_path, version):
    path = with_changed(whole, tmp_path / "v.npz", meta_schema_version=version)
    word = "later version" if version > 3 else f"schema version {version}"
    refused(path, word)
    for wrong in (1.0, "1", [1], True):
        path = with_changed(whole, tmp_path / "v.npz", meta_schema_version=wrong)
        refused(path, "meta_schema_version")


def test_a_file_without_a_digest_is_read_but_not_taken_for_done(whole, day, tmp_path):
    path = tmp_path / "old.npz"
    with np.load(whole) as data:
        np.savez(path, **{k: data[k] for k in data if k != "meta_content_sha256"})
    same_results(read_results(path), day)
    with pytest.raises(CacheError, match="old.npz"):
        verify_results(path)


# ---- claims


def claiming(array, shape):
    "The bytes of an array whose header claims another shape."
    old, content = as_bytes(array), array.tobytes()
    header = old[: len(old) - len(content)]
    padding = str(array.shape).encode()
    claim = str(shape).encode()
    body = header[10:].replace(padding, claim).rstrip()
    assert claim in body
    return header[:10] + body.ljust(len(header) - 11) + b"\n" + content


@pytest.mark.parametrize("key", ["rows_energy", "spec_u_surface", "rejected_line"])
@pytest.mark.parametrize("shape", [(2_500_000_000,), (2**60,), (-1,), (3, 2**40)])
def test_claims_are_refused_before_memory_is_taken(whole, tmp_path, key, shape):
    with np.load(whole) as data:
        member = claiming(data[key], shape)
    path = with_members(whole, tmp_path / "claims.npz", **{key: member})
    tracemalloc.start()
    refused(path, key)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_lone_array_is_no_result_file(tmp_path):
    "numpy.load would take the memory that its header claims."
    path = tmp_path / "3D980401.npz"
    path.write_bytes(claiming(np.zeros(3), (2_500_000_000,)))
    refused(path, "no result file")


@pytest.mark.parametrize("sign", ["(", "{", "\xff", "1"], ids=["a", "b", "c", "d"])
def test_headers_that_no_parser_likes(whole, tmp_path, sign):
    header = sign.encode("latin-1") * 9000
    length = len(header).to_bytes(2, "little")
    member = b"\x93NUMPY\x01\x00" + length + header
    path = with_members(whole, tmp_path / "header.npz", spec_kappa=member)
    refused(path, "spec_kappa")


def test_pickles_are_not_opened(whole, tmp_path):
    path = with_changed(whole, tmp_path / "p.npz", rejected_reason=np.array([{}], "O"))
    refused(path, "rejected_reason")


# ---- what merging makes of it


def test_nothing_is_written_of_parts_that_are_damaged(whole, archive, tmp_path):
    other = process_lp_file(archive.files()[1], archive=archive)
    good = write_results(other, tmp_path / "good.npz")
    with np.load(whole) as data:
        bad = with_changed(
            whole, tmp_path / "bad.npz", spec_kappa=data["spec_kappa"][1:]
        )
    with pytest.raises(CacheError, match="bad.npz: spec_kappa has 29 entries"):
        merge_files([good, bad], tmp_path / "both.npz")
    assert not (tmp_path / "both.npz").exists()


def test_results_that_are_not_finite_json_are_not_written(day, tmp_path):
    meta = day.meta | {"config": {"field_error": float("nan")}}
    with pytest.raises(ValueError, match="JSON"):
        write_results(dataclasses.replace(day, meta=meta), tmp_path / "nan.npz")
    assert list(tmp_path.iterdir()) == []


# ---- fuzzing


def damaged(draw, content):
    "Bytes that are flipped, cut, repeated, moved, or overwritten."
    content = bytearray(content)
    place = st.integers(0, len(content) - 1)
    for _ in range(draw(st.integers(1, 3))):
        how, at = draw(st.sampled_from("fcrmz")), draw(place) % max(len(content), 1)
        size = draw(st.sampled_from([1, 2, 4, 16, 300, 5000]))
        if how == "f" and content:
            content[at] ^= draw(st.integers(1, 255))
        elif how == "c":
            del content[at:]
        elif how == "r":
            content[at:at] = content[at : at + size]
        elif how == "m":
            content = content[at:] + content[:at]
        else:
            content[at : at + size] = bytes(min(size, len(content) - at))
    return bytes(content)


@FUZZ
@given(data=st.data())
def test_damage_anywhere_is_found(whole, day, tmp_path, data):
    "Or it is no damage: the arrays are read as they were."
    before = whole.read_bytes()
    path = tmp_path / "fuzzed.npz"
    path.write_bytes(damaged(data.draw, before))
    try:
        verify_results(path)
    except CacheError as error:
        assert "fuzzed.npz" in str(error)
    else:
        same_results(read_results(path), day)
        assert read_meta(path) == read_meta(whole)
    for reader in (read_meta, read_results, count_sweeps):
        try:
            reader(path)
        except CacheError as error:
            assert "fuzzed.npz" in str(error)


@FUZZ
@given(data=st.data())
def test_arrays_with_good_checksums_are_not_believed_either(whole, tmp_path, data):
    "As from another program: what is read agrees with itself, or is refused."
    with zipfile.ZipFile(whole) as container:
        names = [name.removesuffix(".npy") for name in container.namelist()]
        key = data.draw(st.sampled_from(names))
        content = container.read(f"{key}.npy")
    if data.draw(st.booleans()):  # in the header
        content = damaged(data.draw, content[:128]) + content[128:]
    else:
        content = damaged(data.draw, content)
    path = with_members(whole, tmp_path / "fuzzed.npz", **{key: content})
    try:
        found = read_results(path)
    except CacheError as error:
        assert "fuzzed.npz" in str(error)
    else:
        n = found.n_sweeps
        assert {len(a) for a in found.spec.values()} == {n} == {SWEEPS}
        rows = found.spec["row_count"].sum()
        assert {len(a) for a in found.rows.values()} == {rows}
        found.select(np.arange(n) % 2 == 0).summary()
        json.dumps(found.meta, allow_nan=False)
        assert sum(row["sweeps"] for row in count_sweeps(path).values()) == n
