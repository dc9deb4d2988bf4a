"""The stages in order: parallel equals sequential, nothing is changed or lost."""

import dataclasses
import logging
import os
from pathlib import Path

import joblib
import numpy as np
import pytest
from simulated_days import DATES, SWEEPS, same_arrays, same_results

from lunar_potential import pipeline, stages
from lunar_potential.config import Config
from lunar_potential.data.archive import Archive, ArchiveError
from lunar_potential.data.er.erdata import ERData
from lunar_potential.physics.pitch import sun_cells
from lunar_potential.pipeline import load_all_data, process_lp_file, process_merged_data
from lunar_potential.run.jobs import map_items
from lunar_potential.synthetic.draws import draw_sweeps
from lunar_potential.synthetic.instrument import THETA, SimulationOptions
from lunar_potential.synthetic.sweeps import Truth, simulate_sweeps
from lunar_potential.units import Flag


def test_parallel_equals_sequential_and_leaves_the_input_alone(er, archive, results):
    before = er.to_frame()
    parallel = process_merged_data(er, archive=archive, use_parallel=True, n_jobs=2)
    same_results(parallel, results)
    assert er.to_frame().equals(before)


def test_default_is_sequential_and_keyword_only(er, archive, results, monkeypatch):
    monkeypatch.setattr(
        joblib, "Parallel", lambda **kwargs: pytest.fail("a pool was made")
    )
    same_results(process_merged_data(er, archive=archive), results)
    same_results(process_merged_data(er, archive=archive, use_parallel="auto"), results)
    with pytest.raises(TypeError):
        process_merged_data(er, True)


@pytest.mark.parametrize(
    "use_parallel, n_rows, cores, expected",
    [
        (False, 10**6, 8, 1),
        (True, 10, 8, 7),
        (True, 10, 1, 1),
        ("auto", 50_001, 4, 3),
        ("auto", 50_000, 8, 1),
        ("auto", 10**6, 3, 1),
    ],
)
def test_when_parallel(use_parallel, n_rows, cores, expected, monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
    assert pipeline._jobs(use_parallel, None, n_rows) == expected


@pytest.mark.parametrize("error", [PermissionError, OSError])
def test_without_pool_it_goes_on_alone(
    er, archive, results, monkeypatch, caplog, error
):
    def refuse(**kwargs):
        raise error("no semaphores here")

    monkeypatch.setattr(joblib, "Parallel", refuse)
    with caplog.at_level(logging.WARNING, logger="lunar_potential"):
        same_results(
            process_merged_data(er, archive=archive, use_parallel=True, n_jobs=2),
            results,
        )
    assert "no semaphores here" in caplog.text


@pytest.mark.parametrize(
    "n_sweeps, n_jobs, expected",
    [(977, 7, 34), (30_000, 7, 1071), (3, 7, 1), (0, 1, 1)],
)
def test_chunk_size(n_sweeps, n_jobs, expected):
    assert pipeline.chunk_size(n_sweeps, n_jobs) == expected


def test_a_sweep_that_raises_costs_only_itself(
    er, archive, results, monkeypatch, caplog
):
    frame = er.to_frame()
    rows = (frame["spec_no"] == 4) & (frame["file"] == er.files[0])
    frame.loc[rows, "energy"] *= 1.01  # a mode of its own
    bad_energy = frame.loc[rows, "energy"].max()
    real = stages.spacecraft_stage

    def fussy(*settings, energy, **arrays):
        if (energy == bad_energy).any():
            raise ZeroDivisionError("cannot do this one")
        return real(*settings, energy=energy, **arrays)

    monkeypatch.setattr(stages, "spacecraft_stage", fussy)
    with caplog.at_level(logging.WARNING, logger="lunar_potential"):
        changed = process_merged_data(
            ERData.from_dataframe(frame, er.theta), archive=archive
        )
    assert "cannot do this one" in caplog.text
    assert changed.spec["flags"][3] & Flag.NO_U_SPACECRAFT and np.isnan(
        changed.spec["u_spacecraft"][3]
    )
    others = np.arange(er.n_sweeps) != 3
    same_arrays(changed.select(others).spec, results.select(others).spec)


@pytest.mark.parametrize("error", [EOFError, MemoryError, OSError, TypeError, KeyError])
@pytest.mark.parametrize("stage", ["spacecraft_stage", "surface_stage"])
def test_an_error_that_is_not_of_the_data_is_no_property_of_a_sweep(
    er, archive, monkeypatch, error, stage
):
    real = getattr(stages, stage)

    def stumbles(*settings, energy, **arrays):
        if len(energy) < SWEEPS:  # once, and never in a chunk
            raise error("of the machine")
        return real(*settings, energy=energy, **arrays)

    some = er.select(np.arange(SWEEPS // 2))
    monkeypatch.setattr(stages, stage, stumbles)
    monkeypatch.setattr(pipeline, stage, stumbles, raising=False)
    with pytest.raises(error, match="of the machine"):
        process_merged_data(some, archive=archive)


def _dies(task):
    os._exit(7)


def test_workers_that_die_are_no_property_of_the_sweeps():
    tasks = [(np.array([3, 4]), np.arange(30)), (np.array([5]), np.arange(15))]
    with pytest.raises(RuntimeError, match="sweeps 3 to 4 died"):
        stages.run_chunks(_dies, tasks, {"u": np.nan}, 2)


def test_worker_returns_numbers_rows_and_values(er, archive, monkeypatch):
    def broken(*settings, **arrays):
        raise ValueError("nothing works")

    arrays = {
        "energy": np.ones((2, 15)),
        "counts": np.ones((2, 15)),
        "exposure": np.ones((2, 15)),
        "background": np.zeros((2, 15)),
        "lit": np.ones(2),
    }
    monkeypatch.setattr(stages, "spacecraft_stage", broken)
    spec_no, rows, value = pipeline.spacecraft_potential_worker(
        (np.array([8, 9]), np.arange(30), arrays, Config())
    )
    assert spec_no.tolist() == [8, 9] and len(rows) == 30
    assert (
        np.isnan(value["u_spacecraft"]).all()
        and (value["flags"] & Flag.NO_U_SPACECRAFT).all()
    )


def _dies_in_a_worker(pid_and_value):
    pid, value = pid_and_value
    if value < 0 and os.getpid() != pid:
        os._exit(7)
    return value * 10


def test_a_dying_worker_loses_only_its_item():
    items = [(os.getpid(), value) for value in (1, -2, 3, 4)]
    assert map_items(_dies_in_a_worker, items, n_jobs=2) == [10, None, 30, 40]


def test_every_row_of_a_sweep_has_its_potentials(results):
    sweep = np.repeat(np.arange(results.n_sweeps), results.spec["row_count"])
    names = [
        ("spacecraft_potential", "u_spacecraft"),
        ("projected_potential", "u_surface"),
        ("spec_no", "spec_no"),
    ]
    assert {
        "u_surface_lower_95",
        "u_surface_upper_68",
        "n_components",
        "set_kind",
        "identified",
        "bound_hit",
    } < set(pipeline.SET_KEYS)
    for row_name, spec_name in names + [(name, name) for name in pipeline.SET_KEYS]:
        np.testing.assert_array_equal(
            results.rows[row_name], results.spec[spec_name][sweep]
        )
    assert (
        results.spec["has_fit"] == np.isfinite(results.spec["u_surface"])
    ).all() and (results.spec["has_fit"] == results.spec["identified"]).all()
    assert (
        len(np.unique(results.spec["spec_no"]))
        == results.n_sweeps
        == len(DATES) * SWEEPS
    )


def test_close_to_the_truth(results, truth):
    np.testing.assert_array_equal(results.spec["polarity"], truth.polarity)
    np.testing.assert_array_equal(results.spec["spacecraft_in_sun"], truth.sc_sun)
    assert not results.spec["has_fit"][~truth.connected].any()
    assert (results.spec["flags"][~truth.connected] & Flag.NOT_CONNECTED).all()
    assert (results.spec["projection_in_sun"][~truth.connected] == -1).all()
    fitted = results.spec["has_fit"]
    assert fitted.sum() > 0.9 * truth.connected.sum()
    assert np.median(np.abs(results.spec["u_surface"] - truth.u_lowest)[fitted]) < 6
    assert np.nanmedian(np.abs(results.spec["u_spacecraft"] - truth.u_sc)) < 3


def test_constant_spacecraft_potential(er, archive):
    constant = process_merged_data(er, archive=archive, config=Config(u_spacecraft=7.5))
    assert (constant.rows["spacecraft_potential"] == 7.5).all() and (
        constant.spec["u_spacecraft_error"] == 0
    ).all()
    assert not (constant.spec["flags"] & Flag.RELATIVE_TO_SPACECRAFT).any()


def test_look_direction_turns_the_cells(er, archive, results):
    frame = er.to_frame()
    phi = [name for name in frame if name.startswith("phi_")]
    frame[phi] = (frame[phi] + 180) % 360
    turned = process_merged_data(
        ERData.from_dataframe(frame, -er.theta),
        archive=archive,
        config=Config(direction="look"),
    )
    fitted = results.spec["has_fit"]
    assert (turned.spec["has_fit"] == fitted).mean() > 0.97
    assert (
        np.nanmedian(np.abs(turned.spec["u_surface"] - results.spec["u_surface"]))
        < 0.05
    )


@pytest.mark.parametrize("method", ["halekas", "lillis"])
def test_other_methods(er, archive, method):
    some = process_merged_data(
        er.select(np.arange(6)), archive=archive, config=Config(fit_method=method)
    )
    assert some.spec["has_fit"].any() and set(some.spec["set_kind"]) == {"none"}
    for name in (
        "u_surface_lower_95",
        "u_surface_upper_95",
        "u_surface_lower_68",
        "u_surface_upper_68",
    ):
        assert np.isnan(some.spec[name]).all() and np.isnan(some.rows[name]).all()


def test_summary_and_table(results):
    table = results.to_frame()
    assert len(table) == results.n_sweeps and table.index[0].isoformat().startswith(
        "1998-01-20"
    )
    summary = results.summary()
    assert summary.loc["all", "sweeps"] == results.n_sweeps
    assert (
        summary["fitted"].iloc[:3].sum()
        == summary.loc["all", "fitted"]
        == results.spec["has_fit"].sum()
    )
    assert "sweeps" in results._repr_html_()


def test_missing_input_is_named(own_archive):
    own_archive.attitude.unlink()
    with pytest.raises(ArchiveError, match="attitude"):
        process_lp_file(own_archive.files()[0], archive=own_archive)


# ---- sunlight, the size of a count, a field that turns

DAY = 240  # sweeps, enough to calibrate


@pytest.fixture(scope="module")
def one_day():
    return draw_sweeps("plain", DAY, 3, regimes=("solar_wind", "wake", "plasma_sheet"))


def of_one_day(truth, config=Config(choose_response=False), **options):
    "Truth, results and calibration of sweeps measured once."
    sweeps = simulate_sweeps(truth, SimulationOptions(**options), seed=3)
    er = ERData.from_dataframe(sweeps.to_frame(), THETA)
    lit, equator = truth.sc_sun.astype(float), np.zeros(len(truth))
    _, charged, fitted, calibration = pipeline.fit_sweeps(
        er, er.padded(), truth.polarity, lit, equator, config
    )
    fitted["flags"] = fitted["flags"] | charged["flags"]
    return truth, fitted, calibration


@pytest.fixture(scope="module")
def ordinary(one_day):
    return of_one_day(one_day)


def quality(measured, which=slice(None)):
    "Median error, 95th percentile and coverage of the 95 % sets."
    truth, fitted, _ = measured
    relative = (fitted["flags"] & int(Flag.RELATIVE_TO_SPACECRAFT)) != 0
    target = truth.u_lowest - np.where(relative, truth.u_sc, 0.0)
    off = np.abs(fitted["u_surface"] - target)[which]
    covered = (
        (fitted["set_kind"] != "none")
        & (fitted["u_surface_lower_95"] <= target)
        & (target <= fitted["u_surface_upper_95"])
    )
    return np.nanmedian(off), np.nanpercentile(off, 95), covered[which].mean()


def test_sunlight_in_the_aperture_costs_neither_accuracy_nor_coverage(
    one_day, ordinary
):
    lit = one_day.sc_sun & (one_day.u_lowest < 0)  # a positive ground is easy
    (median, wide, covered), (median_hard, wide_hard, covered_hard) = (
        quality(ordinary, lit),
        quality(of_one_day(one_day, hard=True), lit),
    )
    assert covered > 0.93 and covered_hard > 0.93
    # each median is that of some hundred sweeps, and known to about 15 %
    assert median_hard < 1.4 * median + 0.1 and wide_hard < 1.3 * wide + 0.5


def test_what_the_cells_that_look_at_the_sun_say_changes_nothing(one_day):
    truth = one_day.select(slice(0, 12))
    er = ERData.from_dataframe(
        simulate_sweeps(truth, SimulationOptions(), seed=3).to_frame(), THETA
    )
    block, latitude, lit = (
        er.padded(),
        np.linspace(-4, 4, 12),
        truth.sc_sun.astype(float),
    )
    sunny = sun_cells(block["phi"], THETA, latitude, lit)
    assert (
        sunny[truth.sc_sun].any(axis=2).all()
        and not sunny[~truth.sc_sun].any()
        and not truth.sc_sun.all()
    )
    fits = []
    for glare in (1.0, 1e4, np.nan):
        changed = block | {
            "flux": np.where(sunny, glare * block["flux"], block["flux"])
        }
        u, charged, fitted, _ = pipeline.fit_sweeps(
            er, changed, truth.polarity, lit, latitude
        )
        fits.append(
            {"u": u}
            | {f"charged {name}": a for name, a in charged.items()}
            | {f"fitted {name}": a for name, a in fitted.items()}
        )
    same_arrays(fits[1], fits[0])
    same_arrays(fits[2], fits[0])
    clean = pipeline.without_sunlight(block, THETA, latitude, lit)
    assert np.isnan(clean["flux"][sunny]).all() and np.array_equal(
        clean["flux"][~sunny], block["flux"][~sunny], equal_nan=True
    )
    assert np.array_equal(clean["phi"], block["phi"], equal_nan=True)


def test_a_geometric_factor_ten_times_off_is_put_right(one_day, ordinary):
    found = of_one_day(one_day, count_scale=0.1)
    assert (
        found[2].count_scale == pytest.approx(10, rel=0.05)
        and ordinary[2].count_scale == 1
    )
    median, wide, covered = quality(found)
    assert covered > 0.92 and np.isfinite(found[1]["u_surface"]).mean() > 0.97
    assert (
        median < 2 * quality(ordinary)[0] and wide < 3 * quality(ordinary)[1]
    )  # a tenth of the counts


def test_a_row_without_field_has_that_of_the_sweep():
    b = np.array([[3.0, -1.0, 2.0], [1.0, 1.0, 1.0]])
    rows = np.repeat(b[:, None], 15, axis=1) + np.random.default_rng(0).normal(
        0, 0.1, (2, 15, 3)
    )
    rows[0, 3], rows[0, 4], rows[1, 7], rows[1, 8] = (
        np.nan,
        0.0,
        (2000.0, 0, 0),
        (np.nan, 1, 1),
    )
    field, missing = (
        pipeline.row_field({"b": b, "b_rows": rows}),
        np.zeros((2, 15), bool),
    )
    missing[0, [3, 4]] = missing[1, [7, 8]] = True
    assert np.array_equal(field[~missing], rows[~missing]) and np.array_equal(
        field[missing], b[[0, 0, 1, 1]]
    )


def test_a_field_that_turns_within_the_sweep_gives_the_truth():
    size, turn = 40, np.radians(np.linspace(0, 25, 15))
    first, axis = np.random.default_rng(4).normal(size=(2, size, 3))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    axis = np.cross(first, axis)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    rows = 8 * (
        first[:, None] * np.cos(turn)[:, None] + axis[:, None] * np.sin(turn)[:, None]
    )
    truth = Truth.of(
        size,
        n=3e5,
        T=400.0,
        kappa=4.0,
        u_sc=2.0,
        sc_sun=True,
        u_surface=np.linspace(-250, -20, size),
        b=rows[:, 0],
    )
    at = [
        simulate_sweeps(
            dataclasses.replace(truth, b=rows[:, i]),
            SimulationOptions(flag_rate=0.0),
            seed=1,
        )
        for i in range(15)
    ]
    flux = np.stack([one.flux[:, i] for i, one in enumerate(at)], axis=1)
    frame = dataclasses.replace(at[0], flux=flux).to_frame()
    found = []
    for field in (rows.reshape(-1, 3), np.repeat(rows[:, 0], 15, axis=0)):
        frame[["bx", "by", "bz"]] = field
        er = ERData.from_dataframe(frame, THETA)
        found.append(
            pipeline.fit_sweeps(
                er,
                er.padded(),
                truth.polarity,
                np.ones(size),
                np.zeros(size),
                Config(u_spacecraft=2.0),
            )[2]
        )
    by_row, by_sweep = (np.abs(one["u_surface"] - truth.u_surface) for one in found)
    assert (
        found[0]["identified"].all()
        and np.median(by_row) < 2
        and np.percentile(by_row, 95) < 10
    )
    assert np.nanmedian(by_sweep) > 3 * np.median(by_row)


@pytest.mark.parametrize("wrong", [-0.1, 90.0, np.nan])
def test_a_field_error_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="field_error"):
        Config(field_error=wrong)


def test_the_field_error_of_the_settings_reaches_the_sets(one_day, ordinary):
    truth, own = one_day.select(slice(0, 60)), {"constants_error": False}
    narrow, wide = (
        of_one_day(truth, Config("likelihood", field_error=error, **own))[1]
        for error in (0.0, 2.0)
    )
    width = [
        np.minimum(one["u_surface_upper_95"], 0) - one["u_surface_lower_95"]
        for one in (narrow, wide)
    ]
    assert np.median(width[1]) > 1.3 * np.median(width[0])


# ---- damaged input: as the er page documents, and no other sweep changes by a bit

LINES = 15 * SWEEPS


def _without_line(lines):
    del lines[15 * 4 + 6]


def _cut_off(lines):
    lines[-1] = lines[-1][:400]


def _garbage(lines):
    lines[15 * 6 + 3] = b"\xff\xfe### tape error ###\r\n"


def _wrong_columns(lines):
    fields = lines[15 * 8 + 2].split()
    lines[15 * 8 + 2] = b" ".join(fields[:-3]) + b"\r\n"


def _no_field(lines):
    for number in range(15 * 9, 15 * 10):
        lines[number] = lines[number][:52] + b"       NaN" * 3 + lines[number][82:]


def _long_ago(lines):
    for number in range(15 * 10, 15 * 11):
        line = lines[number]
        time = b"%15d" % (int(line[19:34]) - (3 * 365 + 1) * 86400)  # 1996 is longer
        lines[number] = line[:19].replace(b"1998", b"1995") + time + line[34:]


def _sweep_gone(lines):
    lines[15 * 12 : 15 * 13] = [b"nonsense\r\n"] * 15


def _twice(lines):
    lines[15 * 14 + 1] = lines[15 * 14]


def _other_twice(lines):
    lines[15 * 15 + 1] = lines[15 * 15].replace(b"E-0", b"E-1", 1)


DAMAGE = [  # damage, sweep, its rows afterwards, flag, words of the reason
    (_without_line, 5, 14, Flag.SHORT_SWEEP, None),
    (_cut_off, SWEEPS, 14, Flag.SHORT_SWEEP, "fields"),
    (_garbage, 7, 14, Flag.SHORT_SWEEP, "fields"),
    (_wrong_columns, 9, 14, Flag.SHORT_SWEEP, "180 fields instead of 183"),
    (_no_field, 10, 15, Flag.NO_MAGNETIC_FIELD, None),
    (_long_ago, 11, 15, Flag.NO_KERNEL_COVERAGE, None),
    (_sweep_gone, 13, 0, None, "no row of the sweep"),
    (_twice, 15, 14, Flag.SHORT_SWEEP, "exact copies"),
    (_other_twice, 16, 0, None, "given twice"),
]


@pytest.mark.parametrize(
    "damage, number, rows, flag, reason",
    DAMAGE,
    ids=[case[0].__name__[1:] for case in DAMAGE],
)
def test_damage_stays_where_it_is(
    own_archive, results, damage, number, rows, flag, reason
):
    path = own_archive.files()[1]
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == LINES
    damage(lines)
    path.write_bytes(b"".join(lines))
    hurt = process_merged_data(
        load_all_data(own_archive.files(), own_archive.theta), archive=own_archive
    )

    def mine(one):
        return (one.spec["file_index"] == 1) & (one.spec["file_spec_no"] == number)

    same_arrays(hurt.select(~mine(hurt)).spec, results.select(~mine(results)).spec)
    lost = hurt.rejected[hurt.rejected["lost"] & (hurt.rejected["spec_no"] == number)]
    assert hurt.n_sweeps + len(lost) == results.n_sweeps
    if rows:
        (one,) = np.flatnonzero(mine(hurt))
        assert hurt.spec["row_count"][one] == rows and hurt.spec["flags"][one] & flag
    if reason:
        assert (
            hurt.rejected["file"].eq(path.name).all()
            and hurt.rejected["reason"].str.contains(reason).any()
        )


def test_an_empty_file_is_a_reason(own_archive, results):
    path = own_archive.files()[1]
    path.write_bytes(b"")
    hurt = process_merged_data(
        load_all_data(own_archive.files(), own_archive.theta), archive=own_archive
    )
    assert hurt.n_sweeps == 2 * SWEEPS
    assert hurt.rejected[["file", "spec_no", "lost"]].values.tolist() == [
        [path.name, -1, True]
    ]
    alone = process_lp_file(path, archive=own_archive)
    assert (
        alone.n_sweeps == 0
        and set(alone.spec) == set(results.spec)
        and set(alone.rows) == set(results.rows)
    )
    for name, values in alone.spec.items():
        assert values.dtype.kind == results.spec[name].dtype.kind, name


def test_a_path_with_a_space_and_a_read_only_folder(own_archive, results):
    names = sorted(path for path in own_archive.root.rglob("*"))
    for path in [own_archive.root, *names]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert " " in str(own_archive.root)
    one = process_lp_file(
        own_archive.files()[0], archive=Archive(Path(own_archive.root))
    )
    first = results.select(results.spec["file_index"] == 0)
    same_arrays(one.spec, first.spec)
    assert sorted(path for path in own_archive.root.rglob("*")) == names
    for path in [own_archive.root, *names]:
        path.chmod(0o755 if path.is_dir() else 0o644)
