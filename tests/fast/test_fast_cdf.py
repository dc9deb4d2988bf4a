"""ESA files: what they hold, what may be wrong with them, and that all is checked."""

import gzip
import re
import shutil
import struct
import tracemalloc

import cdflib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.fast import cdf, esa
from lunar_potential.fast import pitch as fast_pitch
from lunar_potential.fast.cdf import open_cdf
from lunar_potential.fast.cusp import cusp_interval, read_cusp_table
from lunar_potential.fast.esa import classify, read_esa, solid_angle
from lunar_potential.fast.files import (
    AllFill,
    AllZero,
    BadShape,
    CDFError,
    EmptyFile,
    MissingVariable,
    NoRecords,
    NotCDF,
    TooLarge,
    Truncated,
    error_reason,
    find_orbits,
    parse_name,
)
from lunar_potential.fast.pitch import pitch_mean
from lunar_potential.fast.simulate import (
    FAULTS,
    MODES,
    mode_tables,
    simulate_archive,
    simulate_cdf,
    true_eflux,
)

RECORDS = 40


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fast")
    return folder, simulate_archive(folder, records=RECORDS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    "The unpacked bytes of a small file."
    folder = tmp_path_factory.mktemp("plain")
    path = simulate_cdf(folder, records=8, spoil=False).path
    plain = cdf._write_intact(path.read_bytes(), 2**30, folder / "plain.cdf")
    return plain.read_bytes()


def of(archive, instrument, orbit=13519):
    return next(
        truth
        for truth in archive[1]
        if (truth.instrument, truth.orbit) == (instrument, orbit)
    )


# names and orbits


@pytest.mark.parametrize(
    "name, expected",
    [
        (
            "fa_esa_l2_ees_20000119234500_13519_v02.cdf",
            ("ees", "20000119234500", 13519, 2),
        ),
        (
            "/a/b/fa_esa_l2_ieb_19960821000000_00042_v01.cdf",
            ("ieb", "19960821000000", 42, 1),
        ),
        ("fa_esa_l2_eeb_x_13519_v02.cdf", ("eeb", "x", 13519, 2)),
        ("fa_esa_l2_eeb_00000000_v01.cdf", None),
        ("fa_k0_orb_13519_v01.cdf", None),
        ("fa_esa_l2_xxx_20000119234500_13519_v02.cdf", None),
        ("fa_esa_l2_ees_20000119234500_13519_v02.cdf.part", None),
        ("", None),
    ],
)
def test_names(name, expected):
    assert parse_name(name) == expected


def test_highest_version_wins_wherever_it_lies(tmp_path):
    for place in (
        "2000/01/fa_esa_l2_ees_20000119234500_13519_v10.cdf",
        "a/fa_esa_l2_ees_20000119234500_13519_v09.cdf",
        "z/fa_esa_l2_ees_20000119234500_13519_v02.cdf",
        "fa_esa_l2_ies_20000119234501_13519_v01.cdf",
        "2000/fa_esa_l2_ees_19991231000000_00099_v02.cdf",
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    found = find_orbits(tmp_path, ("ies", "ees"))
    assert list(found) == [99, 13519] and list(found[13519]) == ["ies", "ees"]
    assert found[13519]["ees"].name.endswith("v10.cdf")
    assert list(find_orbits(tmp_path, ("ies",))) == [13519]


def test_find_orbits_refuses(tmp_path):
    with pytest.raises(ValueError, match="no such instrument"):
        find_orbits(tmp_path, ("ees", "eez"))
    with pytest.raises(NotADirectoryError):
        find_orbits(tmp_path / "nowhere")
    assert find_orbits(tmp_path) == {}


# content


@pytest.mark.parametrize("instrument", ["ees", "eeb", "ies", "ieb"])
def test_records_have_their_own_energies(archive, instrument):
    truth = of(archive, instrument)
    data = read_esa(truth.path)
    assert set(truth.mode) == ({1, 2} if instrument[2] == "s" else {0, 2})
    for i, record in enumerate(data.record.values):
        n_energies, n_angles = MODES[truth.mode[record]][:2]
        energy, width, theta = mode_tables(truth.mode[record])
        assert (data.n_angles[i], data.n_energies[i]) == (n_angles, n_energies)
        np.testing.assert_allclose(
            data.energy[i, : n_energies - 1], energy[1:], rtol=1e-6
        )
        np.testing.assert_allclose(
            data.energy_width[i, : n_energies - 1], width[1:], rtol=1e-6
        )
        assert (
            data.energy[i, n_energies - 1 :].isnull().all()
            and data.eflux[i, n_angles:].isnull().all()
        )
        shift = 5.6 * record / (RECORDS - 1)
        np.testing.assert_allclose(
            data.pitch_angle[i, :n_angles, : n_energies - 1],
            (theta[:, 1:] + shift) % 360,
            atol=1e-4,
        )


@pytest.mark.parametrize("instrument", ["ees", "eeb", "ies", "ieb"])
def test_peaks_are_where_they_were_put(archive, instrument):
    truth = of(archive, instrument)
    data = read_esa(truth.path)
    mean, peak = pitch_mean(data), truth.peak[data.record]
    known = np.isfinite(peak) & np.isfinite(mean).any(1)
    found = data.energy.values[known, np.nanargmax(mean[known], axis=1)]
    assert known.sum() > 20 and abs(np.log(found / peak[known])).max() < 0.35


def test_flux_is_the_true_one_within_counting_noise(archive):
    truth = of(archive, "ees")
    data = read_esa(truth.path)
    share = (data.record.values + 0.5) / RECORDS
    expected = true_eflux(
        data.energy.values[:, None], data.pitch_angle.values, share[:, None, None]
    )
    ratio = (data.eflux.values / expected)[
        (expected > 3e6) & data.eflux.notnull().values
    ]
    assert len(ratio) > 3000 and abs(np.mean(ratio) - 1) < 0.01


def test_spoiled_records(archive):
    truth = of(archive, "ees")
    data, n = read_esa(truth.path), RECORDS // 4
    assert (
        n + 3 not in data.record
        and data.attrs["records"] == RECORDS
        and data.attrs["records_without_time"] == 1
    )
    blank = data.record.values[data.eflux.isnull().all(("angle", "channel"))]
    assert list(blank) == [n, n + 1] and float(data.eflux.max()) < 1e8
    assert (data.solid_angle.values > 0).sum() == np.isfinite(data.eflux.values).sum()
    flagged = data.record == n + 2
    assert data.quality[flagged] == 2 and data.eflux[flagged].notnull().any()
    assert read_esa(truth.path, good_only=True).eflux[flagged].isnull().all()


def test_gap_stays_in_the_times(archive):
    data = read_esa(of(archive, "ees").path)
    steps = np.diff(data.time.values) / np.timedelta64(1, "s")
    assert (
        steps.max() == pytest.approx(122.5) and (data.time_end > data.time_start).all()
    )
    assert ((data.time_end - data.time_start) == np.timedelta64(2500, "ms")).all()


def test_retrace_only_on_request(archive):
    path = of(archive, "ees").path
    assert read_esa(path).channel[0] == 1
    data = read_esa(path, retrace=True)
    assert (
        data.channel[0] == 0
        and data.energy_width[0, 0] == 0
        and data.eflux[:, :, 0].isnull().all()
    )  # marked bad in `bins`


def test_first_energy_is_left_out_without_the_table_of_bad_cells(tmp_path):
    path = simulate_cdf(tmp_path, records=8, spoil=False, without=("bins",)).path
    assert read_esa(path).channel[0] == 1
    assert read_esa(path, retrace=True).eflux[:, :, 0].notnull().any()


@pytest.mark.parametrize("instrument", ["ees", "eeb"])
def test_counts_and_codes(archive, instrument):
    path = of(archive, instrument).path
    counts, codes = (
        read_esa(path, quantity="counts").counts.values,
        read_esa(path, quantity="codes").codes.values,
    )
    both = np.isfinite(counts) & np.isfinite(codes)
    assert both.sum() > 10000 and abs(counts - codes)[both].max() < 1e-2
    assert np.nanmax(codes) < 255


def test_quantity_is_checked(archive, tmp_path):
    with pytest.raises(ValueError, match="no quantity 'flux'"):
        read_esa(of(archive, "ees").path, quantity="flux")
    path = simulate_cdf(tmp_path, records=8, without=("geom_factor",)).path
    with pytest.raises(MissingVariable, match="geom_factor"):
        read_esa(path, quantity="counts")


def test_version_one_reads_the_same(tmp_path):
    one, two = (
        read_esa(simulate_cdf(tmp_path, records=12, version=version).path)
        for version in (1, 2)
    )
    assert one.attrs["version"] == 1 and one.eflux.attrs == two.eflux.attrs
    np.testing.assert_array_equal(one.eflux, two.eflux)
    assert list(find_orbits(tmp_path)[13519].values())[0].name.endswith("_v02.cdf")


FALLBACKS = {
    "energies from the mode": ("energy_full", "denergy_full"),
    "pitch angles from the turn": ("pitch_angle",),
    "times from the epoch": ("time_unix",),
    "intervals from the centres": ("time_start", "time_end"),
    "sizes from the fills": ("nbins", "nenergy"),
}


@pytest.mark.parametrize("without", FALLBACKS.values(), ids=FALLBACKS)
def test_what_is_missing_is_made_up_for(tmp_path, without):
    path = simulate_cdf(tmp_path, records=12, spoil=False).path
    whole = read_esa(path)
    part = read_esa(
        simulate_cdf(tmp_path, records=12, spoil=False, without=without).path
    )
    shape = part.sizes["angle"], part.sizes["channel"]
    np.testing.assert_allclose(
        part.energy[:, : whole.sizes["channel"]], whole.energy, rtol=1e-6
    )
    np.testing.assert_array_equal(
        pitch_mean(part)[:, : whole.sizes["channel"]], pitch_mean(whole)
    )
    assert abs(
        (part.time_end - whole.time_end) / np.timedelta64(1, "s")
    ).max() < 0.002 and shape >= (64, 95)


def test_times_that_repeat_or_go_back(archive, tmp_path, monkeypatch):
    path = of(archive, "ees").path
    inner = esa._unix_time
    monkeypatch.setattr(
        esa,
        "_unix_time",
        lambda variables: np.where(
            np.arange(RECORDS) == 5, inner(variables)[4], inner(variables)[::-1]
        ),
    )
    data = read_esa(path)
    assert (np.diff(data.time.values) > np.timedelta64(0)).all() and data.record[
        0
    ] == RECORDS - 1


# means over pitch angles


@given(st.floats(0, 360), st.sampled_from([32, 64]))
def test_solid_angles_fill_the_sphere(shift, n):
    centres = ((np.arange(n) + 0.5) * 360 / n + shift) % 360
    assert solid_angle(centres, 360 / n).sum() == pytest.approx(4 * np.pi)


def test_solid_angle_is_the_integral():
    for pitch, width in ((0, 10), (3, 10), (90, 11.25), (178, 5.625), (359, 11.25)):
        angle = np.deg2rad(np.linspace(pitch - width / 2, pitch + width / 2, 20001))
        assert solid_angle(pitch, width) == pytest.approx(
            np.pi * np.trapezoid(abs(np.sin(angle)), angle), rel=1e-6
        )


def test_mean_of_a_constant_is_the_constant(archive):
    data = read_esa(of(archive, "ees").path)
    data["eflux"] = data.eflux.where(data.eflux.isnull(), 7.0)
    for ranges in (
        ((0, 360),),
        ((0, 30), (330, 360)),
        ((150, 210),),
        ((40, 140), (210, 330)),
        ((0, 1),),
    ):
        mean = pitch_mean(data, ranges)
        np.testing.assert_allclose(mean[np.isfinite(mean)], 7.0, rtol=1e-6)


def test_ranges_that_share_the_circle_add_up(archive):
    data = read_esa(of(archive, "ees").path)
    angles, width = data.pitch_angle.values, 360 / data.n_angles.values[:, None, None]
    parts = [((0, 30), (330, 360)), ((30, 150),), ((150, 210),), ((210, 330),)]
    total = sum(
        fast_pitch._share(
            angles, (width / 2).astype(np.float32), fast_pitch._unrolled(ranges)
        )
        for ranges in parts
    )
    np.testing.assert_allclose(total[np.isfinite(angles)], 1, atol=1e-4)


def plain_mean(data, ranges):
    "Mean over all cells at once; their shares come from turning the ranges around."
    values, solid, pitch = (
        data[name].values.astype(float)
        for name in ("eflux", "solid_angle", "pitch_angle")
    )
    half = 180 / data.n_angles.values[:, None, None]
    limits = [
        (low + turn, high + turn) for low, high in ranges for turn in (-360, 0, 360)
    ]
    share = sum(
        np.maximum(np.minimum(pitch + half, high) - np.maximum(pitch - half, low), 0)
        for low, high in limits
    ) / (2 * half)
    weight = np.where(np.isfinite(values), solid * share, 0)
    with np.errstate(invalid="ignore"):
        return (weight * np.nan_to_num(values)).sum(1) / weight.sum(1)


RANGES = [
    ((0, 360),),
    ((0, 30), (330, 360)),
    ((150, 210),),
    ((40, 140), (220, 320)),
    ((359, 360),),
    ((0, 1), (90, 90.5)),
]


@pytest.mark.parametrize("instrument", ["ees", "ieb"])
@pytest.mark.parametrize("together", [1, 7, 1000])
def test_means_do_not_depend_on_how_many_records_are_taken_together(
    archive, instrument, together, monkeypatch
):
    monkeypatch.setattr(fast_pitch, "_RECORDS_AT_ONCE", together)
    data = read_esa(of(archive, instrument).path)
    before = data.copy(deep=True)
    for ranges in RANGES:
        np.testing.assert_allclose(
            pitch_mean(data, ranges), plain_mean(data, ranges), rtol=1e-3
        )
        rows = [pitch_mean(data.isel(time=[record]), ranges) for record in (0, 13, 30)]
        np.testing.assert_allclose(
            pitch_mean(data, ranges)[[0, 13, 30]], np.concatenate(rows), rtol=1e-12
        )
    assert data.identical(before)


def test_the_mean_needs_little_memory(archive):
    data = read_esa(of(archive, "ees").path)
    large = data.isel(time=np.tile(np.arange(data.sizes["time"]), 12))
    tracemalloc.start()
    pitch_mean(large, RANGES[1])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < large.eflux.nbytes


def test_down_exceeds_up_in_the_arc_only(archive):
    data = read_esa(of(archive, "ees").path)
    down, up = (
        pitch_mean(data, ranges) for ranges in (((0, 30), (330, 360)), ((150, 210),))
    )
    arc, quiet = (
        int(np.argmin(abs(data.record.values - at))) for at in (RECORDS / 2, 1)
    )
    assert np.nanmax(down[arc]) > 3 * np.nanmax(up[arc])
    assert np.nanmax(down[quiet]) == pytest.approx(np.nanmax(up[quiet]), rel=0.2)


@pytest.mark.parametrize("ranges", [((30, 30),), ((40, 30),), ((0, 400),)])
def test_ranges_are_checked(archive, ranges):
    with pytest.raises(ValueError, match="pitch angles from"):
        pitch_mean(read_esa(of(archive, "eeb").path), ranges)


# trouble

CLASSES = {
    "truncated": Truncated,
    "empty": EmptyFile,
    "not-cdf": NotCDF,
    "all-fill": AllFill,
    "all-zero": AllZero,
    "missing-variable": MissingVariable,
    "no-records": NoRecords,
}


@pytest.mark.parametrize("orbit, kind", FAULTS.items(), ids=FAULTS.values())
def test_every_fault_has_its_class(archive, orbit, kind):
    path = find_orbits(archive[0])[orbit]["ees"]
    with pytest.raises(CLASSES[kind], match=path.name) as caught:
        read_esa(path)
    assert caught.value.kind == kind == classify(path)
    assert error_reason(caught.value) == (
        "divide-by-zero" if kind == "all-zero" else "invalid-cdf"
    )


def test_healthy_files_are_healthy(archive):
    assert not any(classify(truth.path) for truth in archive[1])


def test_reasons():
    class Drawing(RuntimeError):
        batch_reason = "plotting"

    cases = {
        TimeoutError(): "timeout",
        ZeroDivisionError(): "divide-by-zero",
        FloatingPointError(): "divide-by-zero",
        OSError(): "generic",
        Drawing(): "plotting",
        BadShape("x"): "invalid-cdf",
    }
    assert [error_reason(error) for error in cases] == list(cases.values())


def test_file_that_does_not_exist_is_no_bad_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_esa(tmp_path / "fa_esa_l2_ees_20000119234500_13519_v02.cdf")


@pytest.mark.parametrize("part", [0.001, 0.01, 0.3, 0.9, 0.999, 1 - 1e-6])
def test_cut_anywhere(archive, tmp_path, plain, part):
    packed = of(archive, "ees").path.read_bytes()
    for data in (packed, plain):
        path = tmp_path / "cut.cdf"
        path.write_bytes(data[: min(int(len(data) * part), len(data) - 1)])
        with pytest.raises(Truncated):
            read_esa(path)


def test_unpacked_file_reads(tmp_path, plain):
    (tmp_path / "a.cdf").write_bytes(plain)
    data = read_esa(tmp_path / "a.cdf")
    assert data.sizes["time"] == 8 and "orbit" not in data.attrs


def test_file_packed_by_runs_of_zeros_reads(tmp_path, plain):
    body = re.sub(rb"\0{1,256}", lambda run: bytes([0, len(run[0]) - 1]), plain[8:])
    head = struct.pack(">qiqqi", 32 + len(body), 10, 40 + len(body), len(plain) - 8, 0)
    (tmp_path / "a.cdf").write_bytes(
        plain[:4]
        + b"\xcc\xcc\0\1"
        + head
        + body
        + struct.pack(">qiiiii", 28, 11, 1, 0, 1, 0)
    )
    assert read_esa(tmp_path / "a.cdf").sizes["time"] == 8


def test_bomb_is_not_unpacked(tmp_path, plain):
    body = gzip.compress(bytes(50_000_000))
    for claimed in (1000, 2**40, len(plain)):
        head = struct.pack(">qiqqi", 32 + len(body), 10, 40 + len(body), claimed, 0)
        (tmp_path / "a.cdf").write_bytes(
            plain[:4]
            + b"\xcc\xcc\0\1"
            + head
            + body
            + struct.pack(">qiiiii", 28, 11, 5, 0, 1, 6)
        )
        with pytest.raises(TooLarge if claimed == 2**40 else CDFError):
            read_esa(tmp_path / "a.cdf")


@pytest.mark.parametrize(
    "method, pack",
    [
        (5, lambda body: gzip.compress(body)),
        (1, lambda body: body.replace(b"\0", b"\0\0")),
    ],
    ids=["gzip", "zeros"],
)
@pytest.mark.parametrize("change", [-1, 1, 70_000])
def test_unpacked_size_has_to_be_the_claimed_one(tmp_path, plain, method, pack, change):
    body = pack(bytes(plain[8:]))
    for claimed, error in (
        (len(plain) - 8, None),
        (len(plain) - 8 + change, Truncated),
    ):
        head = struct.pack(">qiqqi", 32 + len(body), 10, 40 + len(body), claimed, 0)
        (tmp_path / "a.cdf").write_bytes(
            plain[:4]
            + b"\xcc\xcc\0\1"
            + head
            + body
            + struct.pack(">qiiiii", 28, 11, method, 0, 1, 6)
        )
        if error is None:
            assert read_esa(tmp_path / "a.cdf").sizes["time"] == 8
        else:
            with pytest.raises(error, match="unpacks to"):
                read_esa(tmp_path / "a.cdf")


def test_packed_bytes_that_end_early(tmp_path, plain):
    body = gzip.compress(bytes(plain[8:]))[:-8]
    head = struct.pack(">qiqqi", 32 + len(body), 10, 40 + len(body), len(plain) - 8, 0)
    (tmp_path / "a.cdf").write_bytes(
        plain[:4]
        + b"\xcc\xcc\0\1"
        + head
        + body
        + struct.pack(">qiiiii", 28, 11, 5, 0, 1, 6)
    )
    with pytest.raises(Truncated, match="end early"):
        read_esa(tmp_path / "a.cdf")


def test_sizes_are_checked_before_arrays_are_made(archive):
    path = of(archive, "ees").path
    for limit in (100_000, 900_000):  # of the file, and of an array
        with pytest.raises(TooLarge, match="allowed"):
            read_esa(path, max_bytes=limit)


def at_variable(plain, name):
    "Place of the record that describes a variable."
    return plain.index(name.encode().ljust(256, b"\0")) - 84


@pytest.mark.parametrize(
    "offset, layout, value, match",
    [
        (12, ">q", None, "twice"),  # the next variable is this one
        (24, ">i", 2**31 - 2, "claims"),  # records
        (340, ">i", 2**30, "dimensions"),
        (344, ">i", 2**30, "claims"),
        (64, ">i", 2**30, "elements"),
    ],
)
def test_damaged_descriptions(tmp_path, plain, offset, layout, value, match):
    place, data = at_variable(plain, "eflux"), bytearray(plain)
    struct.pack_into(layout, data, place + offset, place if value is None else value)
    (tmp_path / "a.cdf").write_bytes(data)
    with pytest.raises(CDFError, match=match):
        read_esa(tmp_path / "a.cdf")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.booleans()
        ),
        min_size=1,
        max_size=4,
    )
)
def test_damage_is_an_error_of_ours_or_none(plain, tmp_path_factory, changes):
    data = bytearray(plain)
    for where, byte, early in changes:
        data[8 + int(where * ((60_000 if early else len(data)) - 8))] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.cdf"
    path.write_bytes(data)
    try:
        read_esa(path)
    except CDFError:
        pass


def test_shapes_that_do_not_fit(tmp_path, monkeypatch):
    path = simulate_cdf(tmp_path, records=8, spoil=False).path
    inner = cdf.Variables.__getitem__
    for name, change, match in (
        ("pitch_angle", lambda a: a[:5], "shape"),
        ("nbins", lambda a: a[:5], "nbins"),
        ("energy_full", lambda a: a * (1 + np.arange(64))[:, None], "angle to angle"),
    ):
        monkeypatch.setattr(
            cdf.Variables,
            "__getitem__",
            lambda self, key: (
                change(inner(self, key)) if key == name else inner(self, key)
            ),
        )
        with pytest.raises(BadShape, match=match):
            read_esa(path)


def test_mode_beyond_the_tables(tmp_path, monkeypatch):
    path = simulate_cdf(tmp_path, records=8, spoil=False, without=("energy_full",)).path
    inner = esa._record_values
    monkeypatch.setattr(
        esa,
        "_record_values",
        lambda variables: inner(variables) | {"mode_ind": np.full(8, 7.0)},
    )
    with pytest.raises(BadShape, match="no row 7"):
        read_esa(path)


def test_no_temporary_file_stays(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    read_esa(of(archive, "ees").path)
    for orbit in FAULTS:
        classify(find_orbits(archive[0])[orbit]["ees"])
    assert not list(tmp_path.iterdir())


def test_values_of_the_parser(archive):
    truth = of(archive, "ieb")
    with open_cdf(truth.path) as variables:
        assert variables.names == set(cdflib.CDF(truth.path).cdf_info().zVariables)
        np.testing.assert_array_equal(
            variables["eflux"], cdflib.CDF(truth.path).varget("eflux")
        )
        assert np.isnan(variables.numbers("sc_pot")).all()


# tables


def test_cusp_table(archive):
    table = read_cusp_table(archive[0] / "FAST_Cusp_Indices.csv")
    assert set(table.kind) == {"orb", "eeb", "ees", "ieb", "ies"} and len(table) == 15
    short = table[table.orbit == 13521].set_index("kind")
    assert (
        short.loc["orb", "first"] == 70
        and short.loc["eeb", "first"] is not None
        and table["first"].isna().sum() == 4
    )


def test_cusp_is_where_the_records_are(archive):
    table = read_cusp_table(archive[0] / "FAST_Cusp_Indices.csv")
    data = read_esa(of(archive, "ees").path)
    found = cusp_interval(data, table)
    assert found.reason == "records 30 to 40 of 40"
    table.loc[table.kind == "ees", ["first", "last"]] = (9, 14)
    found, n = cusp_interval(data, table), RECORDS // 4
    assert not found.reason and found.start == data.time_start.values[9]
    assert (
        found.end == data.time_end.values[data.record.values == 14][0] and n + 3 == 13
    )  # left out, and yet counted


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"file": "fa_esa_l2_ees_20000119234500_13519_v01.cdf"}, "_v01"),
        ({"file": "fa_esa_l2_ees_20000119234501_13519_v02.cdf"}, "the table is for"),
        ({"file": "fa_esa_l2_ees_20000119234500_13520_v02.cdf"}, "13520"),
        ({"file": ""}, "no file"),
        ({"first": None}, "no records"),
        ({"first": 9, "last": 8}, "records 9 to 8"),
        ({"first": -1}, "records -1"),
        ({"kind": "eeb"}, "not in the table"),
        ({"file": "fa_esa_l2_ees_x_13519_v02.cdf"}, ""),
    ],
)
def test_cusp_of_another_file_is_not_used(archive, change, reason):
    table = read_cusp_table(archive[0] / "FAST_Cusp_Indices.csv")
    table = (
        table[(table.orbit == 13519) & (table.kind == "ees")]
        .assign(**{"first": 5, "last": 8})
        .assign(**change)
    )
    found = cusp_interval(read_esa(of(archive, "ees").path), table)
    assert reason in found.reason and bool(found.reason) == bool(reason) == np.isnat(
        found.start
    )


@pytest.mark.parametrize(
    "text, match",
    [
        ("", "Orbit Number"),
        ("Orbit Number,ees File\n1,2\n", "tabs"),
        (
            "Orbit Number\tees File\tees min Index\tees Max Index\n"
            "1\tx\t5\n7\ty\tseven\t8\n",
            "line 3",
        ),
    ],
)
def test_tables_that_are_none(tmp_path, text, match):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_cusp_table(tmp_path / "t.csv")


def test_same_seed_same_numbers(tmp_path):
    one = simulate_cdf(tmp_path, records=8).path
    shutil.move(one, tmp_path / "first.cdf")
    np.testing.assert_array_equal(
        read_esa(tmp_path / "first.cdf").eflux,
        read_esa(simulate_cdf(tmp_path, records=8).path).eflux,
    )
