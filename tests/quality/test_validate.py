"""Comparison with published anchors: stand-ins that pass, that fail, and no data."""

import argparse
import dataclasses
import json
import shutil

import numpy as np
import pytest
import spiceypy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from lunar_potential import pipeline
from lunar_potential.data.archive import Archive, ArchiveError, file_hash
from lunar_potential.data.er.erdata import ERData
from lunar_potential.data.er.table import read_er_table, write_er_table
from lunar_potential.physics.pitch import direction_diagnostic
from lunar_potential.quality.validate import footpoints
from lunar_potential.quality.validate import report as validate
from lunar_potential.quality.validate.anchors import Anchors, Check, NoData
from lunar_potential.quality.validate.figure_5 import check_figure_5
from lunar_potential.quality.validate.fluxes import (
    check_direction,
    check_first_sweep,
    check_first_table,
    check_low_resolution,
    flux_ratio,
)
from lunar_potential.quality.validate.footpoints import (
    check_footpoint,
    check_footpoint_product,
    share_needed,
)
from lunar_potential.quality.validate.inputs import nearest_index, read_records
from lunar_potential.quality.validate.report import (
    add_validate_arguments,
    format_checks,
    validate_command,
)
from lunar_potential.synthetic import kernels
from lunar_potential.synthetic.instrument import THETA
from lunar_potential.synthetic.orbit import draw_attitude, locate, spacecraft_axes
from lunar_potential.synthetic.plasma import sunlit_potential
from lunar_potential.synthetic.simulate import simulate_archive
from lunar_potential.synthetic.sweeps import Truth, simulate_sweeps
from lunar_potential.units import R_MOON_KM

FIRST, JUNE = "1998/001_031JAN/3D980116.TAB", "1998/152_181JUN/3D980608.TAB"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    "Two days of 60 sweeps with the Sun in the aperture, and their truth; read only."
    root = tmp_path_factory.mktemp("stand-in")
    return root, simulate_archive(
        root,
        dates=("1998-01-16", "1998-06-08"),
        sweeps_per_day=60,
        cadence=1440,
        seed=3,
        scenario="plain",
        hard=True,
    )


@pytest.fixture
def own(stand_in, tmp_path):
    "A copy that a test may damage."
    return Archive(shutil.copytree(stand_in[0], tmp_path / "own"))


@pytest.fixture
def nothing(tmp_path):
    "An empty folder."
    (tmp_path / "empty").mkdir()
    return Archive(tmp_path / "empty")


def rewrite(path, change):
    "Writes a table anew after `change` has had its columns, a dict of arrays."
    table = read_er_table(path)[0]
    rows = {
        name: np.array(values)
        for name, values in table._asdict().items()
        if name != "line"
    }
    change(rows)
    write_er_table(path, **rows)


def edit_line(path, number, old, new):
    "Replaces bytes in one line, numbered from 1."
    lines = path.read_bytes().splitlines(keepends=True)
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new, 1)
    path.write_bytes(b"".join(lines))


# the anchors themselves


def test_anchors_are_the_published_numbers():
    a = Anchors()
    assert (
        a.first_sha256
        == "f072c346b6c4078d1072fd8649675f7b4999e8eb31da919afdf5ced7acfb3734"
    )
    assert (a.first_sweep, a.footpoint_b, a.footpoint) == (
        (15, 183, 38.641, 16680.334),
        (9.724349, -1.277785, 1.788874),
        (-23.970, 133.120),
    )
    assert (a.footpoint_utc, a.footpoint_error) == ("1998-06-08T00:27:41", 1.0)
    assert (
        a.separations == ((0.5, 0.488), (0.9, 2.115), (0.95, 2.938))
        and a.connections == (336, 346)
        and a.within == 3
    )
    assert (
        a.figure_sweep
        == (653, int(np.datetime64("1999-04-29T14:44:08").astype("M8[s]").astype(int)))
        and a.figure_table == "3D990429.TAB"
    )
    assert (a.figure_u_spacecraft[0], a.figure_u_surface[0], a.figure_ratio[0]) == (
        11,
        -160,
        0.975,
    )


def test_nothing_there_is_no_data_and_names_the_command(nothing):
    checks = validate.validate(nothing.root)
    assert [check.status for check in checks] == ["no data"] * 7
    for check in checks:
        assert (
            check.advice.startswith("lunar-potential download")
            and str(nothing.root) in check.measured + check.advice
        )
        assert "doi" in check.source or "pds" in check.source
    products = " ".join(check.advice for check in checks)
    assert all(word in products for word in ("flux", "attitude", "level2", "lowres"))


# the first table


def test_first_table_by_its_hash(own):
    true = dataclasses.replace(Anchors(), first_sha256=file_hash(own.root / FIRST))
    assert check_first_table(own, true).status == "pass"
    edit_line(own.root / FIRST, 700, b"1998-01-16", b"1998-01-17")
    changed = check_first_table(own, true)
    assert changed.status == "fail" and FIRST in changed.advice


def test_first_sweep_passes_with_the_true_anchor(own):
    assert check_first_sweep(own).status == "pass"


def keep_all_but_one(rows):
    rows |= {name: np.delete(values, 4, axis=0) for name, values in rows.items()}


def other_energies(rows):
    rows["energy"] *= 1.01


@pytest.mark.parametrize("change", [keep_all_but_one, other_energies])
def test_first_sweep_of_another_shape_fails(own, change):
    rewrite(own.root / FIRST, change)
    assert check_first_sweep(own).status == "fail"


def test_damage_in_the_first_sweep_names_file_and_line(own):
    path = own.root / FIRST
    edit_line(path, 15, b"38.641", b"38x641")
    check = check_first_sweep(own)
    assert check.status == "fail" and f"{FIRST}, line 15" in check.measured
    path.write_bytes(
        b"\n".join([*path.read_bytes().split(b"\n")[:14], b"1998-01-16T00:01:14 cut"])
    )
    check = check_first_sweep(own)
    assert check.status == "fail" and f"{FIRST}, line 15" in check.measured


def test_damage_elsewhere_does_not_touch_the_first_sweep(own):
    edit_line(own.root / FIRST, 400, b"E", b"x")
    assert check_first_sweep(own).status == "pass"


def test_an_empty_table_is_a_failure(own):
    (own.root / FIRST).write_bytes(b"")
    assert check_first_sweep(own).status == "fail"
    broken = check_direction(own)
    assert broken.status == "fail" and f"{FIRST}, line 1" in broken.measured


# the published footpoint, with an orbit that leads there


def orbit_over_the_footpoint(archive, shift=0.0):
    "Replaces the orbit by one whose field line meets the footpoint, `shift` deg east."
    anchor = Anchors()
    et = float(kernels.utc_to_et(anchor.footpoint_utc))
    unix = np.datetime64(anchor.footpoint_utc).astype("M8[s]").astype(np.int64)
    table = [line.split(",") for line in archive.attitude.read_text().splitlines()]
    time = np.array(
        [np.datetime64(line[0]).astype("M8[s]").astype(np.int64) for line in table]
    )
    ra, dec = (
        np.array([np.interp(unix, time, [float(line[k]) for line in table])])
        for k in (2, 3)
    )
    to_moon = kernels.moon_rotation(et)
    along = to_moon @ (
        np.array(anchor.footpoint_b)
        @ spacecraft_axes(kernels.sun_from_moon(et)[None], ra, dec)[0]
    )
    along /= np.linalg.norm(along)
    lat, lon = np.radians([anchor.footpoint[0], anchor.footpoint[1] + shift])
    foot = R_MOON_KM * np.array(
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    )
    up = along * np.sign(along @ foot)
    far = brentq(
        lambda length: np.linalg.norm(foot + length * up) - R_MOON_KM - 100, 0, 5000
    )
    start = (foot + far * up) @ to_moon
    radius, ahead = np.linalg.norm(start), np.cross(start, [0.3, 0.2, 0.9])
    ahead *= radius / np.linalg.norm(ahead)
    rate, times = np.sqrt(kernels.GM_MOON / radius**3), et + 60.0 * np.arange(-40, 41)
    phase = rate * (times - et)[:, None]
    states = np.hstack(
        [
            start * np.cos(phase) + ahead * np.sin(phase),
            rate * (ahead * np.cos(phase) - start * np.sin(phase)),
        ]
    )
    for old in (archive.root / "spice_kernels").glob("lp_ask_*"):
        old.unlink()
    spk = sp.spkopn(
        str(archive.root / "spice_kernels" / "lp_ask_980601-981031.bsp"), "stand-in", 0
    )
    sp.spkw08(
        spk,
        -25,
        301,
        "J2000",
        times[6],
        times[-7],
        "stand-in",
        11,
        len(times),
        np.ascontiguousarray(states),
        times[0],
        60.0,
    )
    sp.spkcls(spk)


@pytest.mark.parametrize(
    "shift, status", [(0.0, "pass"), (0.8, "pass"), (1.5, "fail"), (-3.0, "fail")]
)
def test_true_footpoint_anchor(own, shift, status):
    orbit_over_the_footpoint(own, shift)
    check = check_footpoint(own)
    assert check.status == status
    apart = float(check.measured.split()[-3])
    assert apart == pytest.approx(abs(shift) * np.cos(np.radians(23.97)), abs=0.02)


def test_footpoint_of_the_other_side_is_found_out(own):
    orbit_over_the_footpoint(own)
    b = Anchors().footpoint_b
    turned = dataclasses.replace(
        Anchors(), footpoint_b=(b[0], -b[1], -b[2])
    )  # two axes of SCD turned
    assert check_footpoint(own, turned).status == "fail"


def test_a_field_that_misses_the_moon_fails(own):
    orbit_over_the_footpoint(own)
    directions = np.random.default_rng(0).normal(size=(40, 3))
    found = {
        check_footpoint(
            own, dataclasses.replace(Anchors(), footpoint_b=tuple(10 * b))
        ).measured
        for b in directions
    }
    assert "the field line misses the Moon" in found


def test_missing_kernels_and_attitude_are_no_data(own):
    kernel = own.root / "spice_kernels" / "lpephemu.bsp"
    kernel.rename(own.root / "elsewhere.txt")
    check = check_footpoint(own)
    assert (
        check.status == "no data"
        and "planets" in check.measured
        and "--products planets" in check.advice
    )
    (own.root / "elsewhere.txt").rename(kernel)
    (own.root / "attitude.tab").unlink()
    check = check_footpoint(own)
    assert check.status == "no data" and "--products attitude" in check.advice


def test_kernels_of_another_time_are_no_data(own):
    later = dataclasses.replace(Anchors(), footpoint_utc="1999-07-01T00:00:00")
    check = check_footpoint(own, later)
    assert (
        check.status == "no data"
        and "1999-07-01" in check.advice
        and "orbit" in check.advice
    )


def test_broken_kernels_and_attitude_are_failures(own):
    edit_line(own.root / "attitude.tab", 2, b",", b";")
    check = check_footpoint(own)
    assert check.status == "fail" and "attitude.tab, line 2" in check.measured
    edit_line(own.root / "attitude.tab", 2, b";", b",")
    kernel = own.root / "spice_kernels" / "lpephemu.bsp"
    kernel.write_bytes(b"<html>not here</html>")
    check = check_footpoint(own)
    assert check.status == "fail" and "lpephemu.bsp" in check.measured


# the direction


def name_by_look(archive):
    "Gives every cell its look direction, as an archive of look directions would."

    def turn(rows):
        rows["phi"] = np.where(
            rows["phi"] > 400, rows["phi"], (rows["phi"] + 180) % 360
        )

    for path in archive.files():
        rewrite(path, turn)
    archive.theta.write_text(" ".join(f"{-t:6.2f}" for t in THETA))


def test_direction_of_travel_and_of_look(own):
    assert [
        check_direction(own, convention).status for convention in ("travel", "look")
    ] == ["pass", "fail"]
    name_by_look(own)
    assert [
        check_direction(own, convention).status for convention in ("travel", "look")
    ] == ["fail", "pass"]


def test_noise_decides_nothing(own):
    def noise(rows):
        rows["flux"] = np.random.default_rng(len(rows["flux"])).gamma(
            20, 1, rows["flux"].shape
        )

    for path in own.files():
        rewrite(path, noise)
    check = check_direction(own)
    assert check.status == "no data" and "undecided" in check.measured


def test_tests_that_contradict_each_other_fail(own):
    def shine(rows):  # five times the flux: more would drown the other test
        at_zero = (np.abs((rows["phi"] + 180) % 360 - 180) < 15) & (np.abs(THETA) < 12)
        rows["flux"] = np.where(
            at_zero & (rows["flux"] > 1e-90), 5 * rows["flux"], rows["flux"]
        )

    for path in own.files():
        rewrite(path, shine)
    check = check_direction(own)
    assert (
        check.status == "fail"
        and "undecided" in check.measured
        and "contradict" in check.advice
    )


def test_a_table_of_garbage_names_itself(own):
    (own.root / JUNE).write_text("<html>\n<body>404</body>\n</html>\n")
    check = check_direction(own)
    assert check.status == "fail" and f"{JUNE}, line 1" in check.measured


@settings(max_examples=15, deadline=None)
@given(angle=st.floats(0, 360))
def test_loss_cone_test_does_not_know_the_spin_phase(stand_in, angle):
    er = ERData.from_files([stand_in[0] / JUNE], THETA)
    block, polarity = er.padded(), stand_in[1].polarity[stand_in[1].day == 1]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turned = block["b"] @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    dark = np.zeros(len(polarity))
    one = direction_diagnostic(
        block["flux"], block["phi"], THETA, block["b"], polarity, dark
    )
    other = direction_diagnostic(
        block["flux"], (block["phi"] + angle) % 360, THETA, turned, polarity, dark
    )
    assert one.verdict == other.verdict == "travel"
    assert (other.cone, other.cone_error) == pytest.approx(
        (one.cone, one.cone_error), rel=1e-2
    )  # a cell on the border may change sides


# the footpoint product


def write_product(archive, truth, shift=0.0, separator=" ", most=None):
    "The footpoint product of June 1998, latitudes moved by `shift` deg."
    path = archive.root / "level2" / "er_220ev" / "ER980608.TAB"
    path.parent.mkdir(parents=True, exist_ok=True)
    mild = truth.select(truth.connected & (np.abs(truth.foot_lat) < 80)).select(
        slice(most)
    )
    rows = zip(
        (mild.time + 1).astype("M8[s]"), mild.foot_lon % 360, mild.foot_lat + shift
    )
    path.write_text(
        "".join(
            separator.join(
                [
                    f"{time}",
                    f"{lon:8.3f}",
                    f"{lat:8.3f}",
                    "0.5",
                    "10.0",
                    "0.1",
                    "30.0",
                    "1.0",
                ]
            )
            + "\r\n"
            for time, lon, lat in rows
        )
    )
    return path


@pytest.mark.parametrize(
    "shift, separator, status",
    [(0.0, " ", "pass"), (0.2, ",", "pass"), (1.5, " ", "fail"), (4.0, " ", "fail")],
)
def test_footpoint_product(own, stand_in, shift, separator, status):
    write_product(own, stand_in[1], shift, separator)
    check = check_footpoint_product(own)
    assert check.status == status and "deg" in check.measured


def test_product_of_unconnected_records_fails(own, stand_in):
    truth = stand_in[1]
    known = {
        name: np.where(truth.connected, getattr(truth, name), 0)
        for name in ("foot_lat", "foot_lon")
    }
    truth = truth.select(np.abs(known["foot_lat"]) < 80)
    known = {
        name: np.where(truth.connected, getattr(truth, name), 0) for name in known
    }  # right where connected, stand_in up elsewhere
    write_product(
        own, dataclasses.replace(truth, connected=np.ones(len(truth), bool), **known)
    )
    check = check_footpoint_product(own)
    assert (
        check.status == "fail"
        and "95% below 0." in check.measured
        and f"{int(truth.connected.sum())} of {len(truth)} connected" in check.measured
    )


def test_footpoint_product_without_enough_is_no_data(own, stand_in):
    write_product(own, stand_in[1], most=20)
    assert "20 records" in check_footpoint_product(own).measured
    write_product(own, stand_in[1])
    for table in own.files():
        table.unlink()
    check = check_footpoint_product(own)
    assert (
        check.status == "no data"
        and "--products flux" in check.advice
        and "1998-06-08" in check.advice
    )


def test_footpoint_product_of_unknown_layout_is_no_data_and_a_broken_one_fails(
    own, stand_in
):
    path = write_product(own, stand_in[1])
    good = path.read_text()
    path.write_text("".join(f"{hour:8.4f} 1 2 3 4 5 6 7\n" for hour in range(24)))
    check = check_footpoint_product(own)
    assert (
        check.status == "no data"
        and "not laid out" in check.measured
        and path.name in check.measured
    )
    path.write_text(good[:-20])
    check = check_footpoint_product(own)
    assert (
        check.status == "fail"
        and f"line {len(good.splitlines())}" in check.measured
        and path.name in check.measured
    )
    lines = good.splitlines()
    path.write_text(
        "\n".join(
            [*lines[:4], lines[4].replace(lines[4].split()[2], "-95.000"), *lines[5:]]
        )
    )
    check = check_footpoint_product(own)
    assert (
        check.status == "fail"
        and "line 5" in check.measured
        and "no place" in check.measured
    )


def test_a_broken_table_fails_the_comparison_of_footpoints(own, stand_in):
    write_product(own, stand_in[1])
    (own.root / JUNE).write_text("<html>\n<body>404</body>\n</html>\n")
    check = check_footpoint_product(own)
    assert check.status == "fail" and f"{JUNE}, line 1" in check.measured


@given(share=st.floats(0.01, 0.99), n=st.integers(1, 10**6), m=st.integers(1, 10**6))
def test_share_needed_tightens_with_more_records(share, n, m):
    assert share_needed(share, n, m) <= share_needed(share, 2 * n, m) < share
    assert share_needed(share, n, m) == pytest.approx(share_needed(share, m, n))


@given(
    times=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30),
    wanted=st.floats(-1e9, 1e9),
)
def test_nearest_is_nearest(times, wanted):
    times = np.sort(times)
    found = times[nearest_index(times, np.array([wanted]))[0]]
    assert abs(found - wanted) == np.abs(times - wanted).min()


# the low-resolution flux


def write_low(archive, table, scale=1.0, rising=False, product="EL980116.TAB"):
    "The omnidirectional product of a table, with zones of the sphere written out."
    rows = read_er_table(table)[0]
    good = np.abs(rows.flux) >= 1e-90
    zone = np.sin(np.radians(THETA + 11.25)) - np.sin(np.radians(THETA - 11.25))
    area = (
        zone
        / np.array([np.sum(THETA == ring) for ring in THETA])
        * (good | (rows.flux == 0))
    )
    mean = (
        scale
        * (np.where(good, rows.flux, 0) * area).sum(1).reshape(-1, 15)
        / area.sum(1).reshape(-1, 15)
    )
    path = archive.root / "lowres" / product
    path.parent.mkdir(exist_ok=True)
    stamps = rows.time[::15].astype("M8[s]")
    path.write_text(
        "".join(
            f"{stamp}  {' '.join(f'{v:9.3f}' for v in line)}\r\n"
            for stamp, line in zip(stamps, mean[:, ::-1] if rising else mean)
        )
    )
    return path


@pytest.mark.parametrize(
    "scale, rising, status",
    [
        (1.0, False, "pass"),
        (1.0, True, "pass"),
        (1.06, False, "pass"),
        (1.15, False, "fail"),
        (0.8, True, "fail"),
        (4 * np.pi, False, "fail"),
    ],
)
def test_low_resolution(own, scale, rising, status):
    write_low(own, own.root / FIRST, scale, rising)
    check = check_low_resolution(own)
    assert (
        check.status == status
        and ("low to high" if rising else "high to low") in check.measured
    )


def test_one_wrong_channel_is_enough(own):
    path = write_low(own, own.root / FIRST)
    lines = [line.split() for line in path.read_text().splitlines()]
    path.write_text(
        "".join(
            f"{' '.join([*line[:12], f'{1.3 * float(line[12]):.3f}', *line[13:]])}\n"
            for line in lines
        )
    )
    assert check_low_resolution(own).status == "fail"


def test_low_resolution_of_other_days_is_no_data_and_a_broken_file_fails(own):
    path = write_low(own, own.root / FIRST, product="EL980120.TAB")
    check = check_low_resolution(own)
    assert check.status == "no data" and "lowres" in check.advice
    path = path.rename(path.with_name("EL980116.TAB"))
    edit_line(path, 7, b".", b"x")
    check = check_low_resolution(own)
    assert check.status == "fail" and "EL980116.TAB, line 7" in check.measured
    path.write_text("")
    assert check_low_resolution(own).status == "fail"


@settings(deadline=None)
@given(scale=st.floats(0.5, 20), slope=st.floats(-4, -1), rising=st.booleans())
def test_flux_ratio_scales_and_finds_the_order(scale, slope, rising):
    energy = np.geomspace(16680.334, 38.641, 15)
    ours = np.outer(np.linspace(1, 3, 40), 1e3 * (energy / 40) ** slope)
    theirs = scale * ours
    ratio, falling = flux_ratio(ours, theirs[:, ::-1] if rising else theirs)
    known = np.isfinite(ratio)
    assert falling == (not rising) and known.any()
    assert ratio[known] == pytest.approx(scale)
    assert (known == ((theirs >= 0.1).sum(0) >= 30)).all()


# Fig. 5


def figure_archive(root, source, u_surface=-160.0, first=633):
    "An archive of 41 simulated sweeps with the state of the figure around its time."
    start, number = 925397048, np.arange(41)
    spread = start + 80 * (number - 20)
    days = [np.datetime64(day).item() for day in ("1999-04-28", "1999-04-30")]
    attitude = draw_attitude(0, *days)
    kernels.write_kernels(
        root / "spice_kernels", *map(str, days), node_local_time=6.0
    )  # along the terminator, always in the sun
    stamps = np.datetime_as_string(attitude["time"].astype("M8[s]"), unit="m")
    rows = zip(stamps, attitude["spin_rate"], attitude["ra"], attitude["dec"])
    (root / "attitude.tab").write_text(
        "".join(
            f"{t},{rate:7.3f},{ra:7.2f},{dec:7.2f}\r\n" for t, rate, ra, dec in rows
        )
    )
    shutil.copy(source / "theta.tab", root)
    tries = np.random.default_rng(1).normal(size=(41, 16, 3))
    b = (10 * tries / np.linalg.norm(tries, axis=2, keepdims=True)).round(3)
    where = locate(
        np.repeat(spread, 16),
        b.reshape(-1, 3),
        attitude,
        float(kernels.utc_to_et("1999-04-28")),
        node_local_time=6.0,
    )
    polarity = where["polarity"].reshape(41, 16)
    pick = number, np.argmax(polarity != 0, axis=1)
    density = brentq(
        lambda n: float(sunlit_potential(n, np.array(12.0), 4.5)) - 11, 1e4, 1e8
    )
    truth = Truth.of(
        41,
        time=spread,
        spec_no=first + number,
        n=density,
        T=12.0,
        kappa=4.5,
        u_sc=11.0,
        u_surface=u_surface,
        bs_over_bm=0.975,
        b=b[pick],
        polarity=polarity[pick],
    )
    assert truth.connected.all()
    write_er_table(root / "3D990429.TAB", **simulate_sweeps(truth, seed=2).rows())
    return Archive(root)


@pytest.fixture(scope="module")
def figure(tmp_path_factory, stand_in):
    return figure_archive(tmp_path_factory.mktemp("figure"), stand_in[0])


def test_figure_5_with_the_true_anchor(figure):
    check = check_figure_5(figure)
    assert check.status == "pass", check.measured


def test_figure_5_of_another_potential_fails(tmp_path, stand_in):
    check = check_figure_5(figure_archive(tmp_path, stand_in[0], u_surface=-600.0))
    assert check.status == "fail" and "U_M" in check.advice


def test_figure_5_under_another_number_fails(tmp_path, stand_in):
    check = check_figure_5(figure_archive(tmp_path, stand_in[0], first=634))
    assert (
        check.status == "fail"
        and "14:42:48" in check.measured
        and "14:44:08" in check.measured
    )


def test_figure_5_damaged_or_empty_fails_and_says_where(figure, tmp_path):
    own = Archive(shutil.copytree(figure.root, tmp_path / "own"))
    for line in range(301, 316):
        edit_line(own.root / "3D990429.TAB", line, b"E", b"x")
    check = check_figure_5(own)
    assert (
        check.status == "fail"
        and "3D990429.TAB" in check.measured
        and "line 301" in check.measured
    )
    (own.root / "3D990429.TAB").write_bytes(b"")
    assert check_figure_5(own).status == "fail"


def test_figure_5_without_theta_or_kernels_is_no_data(figure, tmp_path):
    own = Archive(shutil.copytree(figure.root, tmp_path / "own"))
    (own.root / "theta.tab").rename(own.root / "theta.txt")
    assert "--products theta" in check_figure_5(own).advice
    (own.root / "theta.txt").rename(own.root / "theta.tab")
    shutil.rmtree(own.root / "spice_kernels")
    check = check_figure_5(own)
    assert check.status == "no data" and "orbit" in check.measured


def test_given_results_are_used_and_not_computed_again(figure, monkeypatch):
    results = pipeline.process_lp_file(figure.files()[0], archive=figure)
    monkeypatch.setattr(
        pipeline,
        "process_lp_file",
        lambda *args, **more: pytest.fail("processed again"),
    )
    assert check_figure_5(figure, results=results).status == "pass"
    results.spec["u_surface_lower_95"] = results.spec["u_surface_lower_95"] - 1000
    results.spec["u_surface_upper_95"] = results.spec["u_surface_upper_95"] - 1000
    assert check_figure_5(figure, results=results).status == "fail"
    results.spec["u_surface_lower_95"][:] = -np.inf
    assert "not bounded" in check_figure_5(figure, results=results).measured


# all of it


def run(*arguments):
    parser = argparse.ArgumentParser()
    add_validate_arguments(parser)
    return validate_command(parser.parse_args([str(a) for a in arguments]))


def test_the_command(own, nothing, tmp_path, capsys):
    assert run(nothing.root) == 2
    said, complained = capsys.readouterr()
    last = said.splitlines()[-1]
    assert "nothing could be checked" in complained and "SIMULATED" not in said
    assert last.startswith(
        "0 passed, 0 failed, 7 had no data; nothing is known about: first table"
    )
    file = tmp_path / "new" / "answers.json"
    assert run(own.root, "--json", file) == 1  # simulated bytes are not the archive's
    out = capsys.readouterr().out
    assert (
        out.splitlines()[0].startswith("SIMULATED ARCHIVE (")
        and "truth.npz" in out.splitlines()[0]
    )
    assert (
        sum(line.split()[:1] == ["simulated"] for line in out.splitlines()) == 7
        and "cannot pass: simulated bytes" in out
    )
    answers = json.loads(file.read_text())
    assert [answer["status"] for answer in answers] == [
        line[:9].strip()
        for line in out.splitlines()
        if line[:1].strip() and line[0] in "pfn"
    ]
    assert (
        set(answers[0])
        == {"name", "status", "measured", "expected", "source", "advice"}
        and answers[0]["status"] == "fail"
    )
    assert list(file.parent.iterdir()) == [file]
    with pytest.raises(ArchiveError, match="nowhere"):
        run(tmp_path / "nowhere")


def test_something_checked_is_not_nothing(own, monkeypatch):
    for path in [*own.kernels, *own.files()[1:]]:
        path.unlink()
    (own.root / "truth.npz").unlink()
    monkeypatch.setattr(
        validate,
        "check_first_table",
        lambda *args: Check("first table", "pass", "m", "e", "s"),
    )
    assert run(own.root) == 0


def test_a_check_that_breaks_costs_only_itself(own, monkeypatch):
    monkeypatch.setattr(footpoints, "footpoint_files", lambda archive: 1 / 0)
    checks = {check.name: check for check in validate.validate(own.root)}
    assert (
        checks["footpoint product"].status == "fail"
        and "ZeroDivisionError" in checks["footpoint product"].measured
    )
    assert (
        checks["first sweep"].status
        == checks["direction of phi, theta"].status
        == "pass"
    )


def test_two_copies_of_a_day_are_a_failure(own):
    shutil.copy(own.root / FIRST, own.root / "3D980116.TAB")
    check = check_first_sweep(own)
    assert check.status == "fail" and "Two tables" in check.measured


def test_text_is_aligned_and_status_is_one_of_three():
    text = format_checks(
        [
            Check("one", "pass", "m", "e", "s"),
            Check("two", "no data", "m", "e", "s", "do"),
        ]
    )
    starts = [
        line.index(word)
        for line in text.splitlines()
        for word in ("measured", "expected", "source", "advice")
        if word in line
    ]
    assert set(starts) == {9} and text.splitlines()[-1].endswith(
        "nothing is known about: two"
    )
    with pytest.raises(ValueError, match="no data"):
        Check("one", "success", "", "", "")


@given(text=st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_text_is_taken_for_records(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "EL980116.TAB"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises((NoData, ValueError)):
        read_records(path, 15)
