"""Days to shards to one file: names, reuse, failures, and the command."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys

import joblib
import numpy as np
import pytest
from simulated_days import SWEEPS, same_results

from lunar_potential import batch, config, stages
from lunar_potential.batch import (
    main,
    process_days,
    run_all,
    run_day,
    run_month,
    run_year,
)
from lunar_potential.config import Config
from lunar_potential.data.archive import ArchiveError
from lunar_potential.results import read_meta, read_results
from lunar_potential.run.files import OutputError
from lunar_potential.shards import Period, output_name, plan_days
from lunar_potential.synthetic.simulate import simulate_archive


@pytest.fixture
def home(archive, tmp_path, monkeypatch):
    "An empty working directory with the archive as default data folder."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUNAR_POTENTIAL_DATA", str(archive.root))
    return tmp_path


@pytest.fixture(scope="module")
def finished_dir(archive, tmp_path_factory):
    "A folder with the shards of all days, to start from."
    folder = tmp_path_factory.mktemp("finished")
    run_all(archive.root, folder, n_jobs=1)
    return folder


@pytest.fixture
def done(finished_dir, tmp_path):
    "A copy of that folder."
    return shutil.copytree(finished_dir, tmp_path / "done")


@pytest.mark.parametrize(
    "period, name",
    [
        (Period(), "potential_batch_all.npz"),
        (Period(1998), "potential_batch_1998.npz"),
        (Period(1998, 6), "potential_batch_1998_06.npz"),
        (Period(1998, 6, 15), "potential_batch_1998_06_15.npz"),
        (Period(start="1998-06-01"), "potential_batch_from_1998_06_01.npz"),
    ],
)
def test_names(period, name):
    assert output_name(period) == name


@pytest.mark.parametrize(
    "wrong",
    [
        dict(month=6),
        dict(year=1998, day=3),
        dict(year=98),
        dict(year=1998, month=2, day=30),
        dict(year=1998, start="1998-01-01"),
        dict(start="1998-02-02", end="1998-02-01"),
        dict(start="June"),
    ],
)
def test_periods_that_make_no_sense(wrong):
    with pytest.raises(ValueError):
        Period(**wrong)


def test_day_month_year_all(archive, done):
    days = [
        run(*when, archive.root, done)
        for run, when in (
            (run_day, (1998, 6, 15)),
            (run_month, (1998, 6)),
            (run_year, (1998,)),
            (run_all, ()),
        )
    ]
    assert [result.paths[0].name for result in days] == [
        f"potential_batch_{n}.npz" for n in ("1998_06_15", "1998_06", "1998", "all")
    ]
    assert [result.results.n_sweeps for result in days] == [
        SWEEPS,
        2 * SWEEPS,
        3 * SWEEPS,
        3 * SWEEPS,
    ]
    assert (
        days[3].days["status"].eq("unchanged").all()
        and days[2].days["status"].eq("reused").all()
    )
    assert days[0].problem is None and "sweeps" in days[0]._repr_html_()
    assert sorted(p.name[:8] for p in (done / "shards").iterdir()) == [
        "3D980120",
        "3D980614",
        "3D980615",
    ]


def test_workers_and_order_do_not_show(archive, results, done, tmp_path):
    result = run_all(archive.root, tmp_path / "two", n_jobs=2)
    assert result.days["status"].eq("done").all() and set(result.timings) >= {
        "read",
        "coordinates",
        "spacecraft_potential",
        "surface_fit",
        "write",
        "merge",
    }
    same_results(result.results, results)
    assert (
        result.paths[0].read_bytes() == (done / "potential_batch_all.npz").read_bytes()
    )


def test_existing_output_is_left_alone_unless_overwritten(archive, done):
    path = done / "potential_batch_all.npz"
    stamp = path.stat().st_mtime_ns
    assert (
        run_all(archive.root, done).days["status"].eq("unchanged").all()
        and path.stat().st_mtime_ns == stamp
    )
    redone = run_all(archive.root, done, overwrite=True, n_jobs=1)
    assert redone.days["status"].eq("done").all() and path.stat().st_mtime_ns > stamp


def test_a_changed_file_redoes_its_day_only(own_archive, done):
    assert run_all(own_archive.root, done).days["status"].eq("unchanged").all(), (
        "a copy with the same content is the same input"
    )
    path = own_archive.files()[2]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-15]))
    result = run_all(own_archive.root, done, n_jobs=1)
    assert result.days["status"].tolist() == [
        "reused",
        "reused",
        "done",
    ] and result.days["sweeps"].tolist() == [SWEEPS, SWEEPS, SWEEPS - 1]


def test_changed_settings_redo_everything(archive, done):
    result = run_month(
        1998, 6, archive.root, done, config=Config(u_spacecraft=4.0), n_jobs=1
    )
    assert (
        result.days["status"].eq("done").all()
        and (result.results.spec["u_spacecraft"] == 4).all()
    )


def test_a_changed_kernel_or_version_redoes_everything(own_archive, done, monkeypatch):
    with open(
        next(path for path in own_archive.kernels if path.suffix == ".tpc"), "a"
    ) as kernel:
        kernel.write("\n")
    items = batch.plan_days(own_archive, Period(1998), done)
    assert not any(item.is_done() for item in items)
    monkeypatch.setattr(config, "__version__", "99.0")
    assert {
        item.fingerprint for item in batch.plan_days(own_archive, Period(1998), done)
    }.isdisjoint(item.fingerprint for item in items)


def test_a_stopped_run_goes_on_where_it_was(archive, done):
    (done / "potential_batch_all.npz").unlink()
    shards = sorted((done / "shards").iterdir())
    shards[0].unlink()
    shards[1].write_bytes(shards[1].read_bytes()[:1000])
    result = run_all(archive.root, done, n_jobs=1)
    assert result.days["status"].tolist() == ["done", "done", "reused"]
    assert {path.name for path in done.iterdir()} == {
        "shards",
        "potential_batch_all.npz",
    }


def test_per_file(archive, results, home):
    result = run_month(1998, 6, output_dir="out", per_file=True, n_jobs=1)
    assert sorted(path.name for path in (home / "out").iterdir()) == [
        "3D980614.npz",
        "3D980615.npz",
    ]
    stamps = [path.stat().st_mtime_ns for path in result.paths]
    assert (
        run_month(1998, 6, output_dir="out", per_file=True)
        .days["status"]
        .eq("reused")
        .all()
    )
    assert [path.stat().st_mtime_ns for path in result.paths] == stamps
    june = results.select(results.spec["file_index"] > 0)
    np.testing.assert_array_equal(
        read_results(home / "out").spec["u_surface"], june.spec["u_surface"]
    )


def test_limit_keeps_a_longer_result(archive, done):
    path = done / "potential_batch_all.npz"
    before = path.read_bytes()
    assert (
        len(run_all(archive.root, done, limit=2).days) == 2
        and path.read_bytes() == before
    )
    path.unlink()
    assert run_all(archive.root, done, limit=2).results.n_sweeps == 2 * SWEEPS
    assert run_all(archive.root, done).results.n_sweeps == 3 * SWEEPS


def test_a_day_that_fails_is_reported_and_tried_again(archive, done, monkeypatch):
    real = batch.process_lp_file

    def fails(path, **options):
        if path.name == "3D980614.TAB":
            raise ArchiveError("this disk is broken")
        return real(path, **options)

    monkeypatch.setattr(batch, "process_lp_file", fails)
    result = run_all(archive.root, done, n_jobs=1, overwrite=True)
    assert (
        result.days["status"].tolist() == ["done", "failed", "done"]
        and "broken" in result.days["reason"][1]
    )
    assert result.rejected.loc[
        result.rejected["lost"], ["file", "spec_no"]
    ].values.tolist() == [["3D980614.TAB", -1]]
    assert list(read_meta(result.paths[0])["failed"]) == ["3D980614.TAB"]
    assert list(read_results(done).meta["failed"]) == ["3D980614.TAB"]
    stamp = result.paths[0].stat().st_mtime_ns
    (done / "shards").joinpath(
        next(p.name for p in (done / "shards").iterdir() if "0614" in p.name)
    ).unlink()
    assert run_all(archive.root, done, n_jobs=1).paths[0].stat().st_mtime_ns == stamp, (
        "the same failure changes nothing"
    )
    monkeypatch.undo()
    assert run_all(archive.root, done, n_jobs=1).days["status"].tolist() == [
        "reused",
        "done",
        "reused",
    ]


def test_an_error_of_the_machine_fails_the_day_and_is_written_into_no_sweep(
    archive, done, monkeypatch
):
    real = stages.surface_stage

    def short_of_memory(*settings, **arrays):
        raise MemoryError("Unable to allocate 3 GiB")

    shards = sorted((done / "shards").iterdir())
    shards[1].unlink()
    (done / "potential_batch_all.npz").unlink()
    monkeypatch.setattr(stages, "surface_stage", short_of_memory)
    result = run_all(archive.root, done, n_jobs=1)
    assert result.days["status"].tolist() == ["reused", "failed", "reused"]
    assert "Unable to allocate" in result.days["reason"][1]
    assert result.results.n_sweeps == 2 * SWEEPS and not shards[1].exists()
    monkeypatch.setattr(stages, "surface_stage", real)
    result = run_all(archive.root, done, n_jobs=1)
    assert result.days["status"].tolist() == ["reused", "done", "reused"]
    assert result.results.n_sweeps == 3 * SWEEPS


def test_all_days_failing_is_an_error(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "process_lp_file", lambda path, **options: 1 / 0)
    with pytest.raises(OutputError, match="none of the 3 files.*ZeroDivisionError"):
        run_all(archive.root, tmp_path / "out", n_jobs=1)


def test_without_pool_the_days_run_one_by_one(
    archive, results, tmp_path, monkeypatch, caplog
):
    def refuse(**kwargs):
        raise OSError("no pool today")

    monkeypatch.setattr(joblib, "Parallel", refuse)
    result = run_all(archive.root, tmp_path / "out", n_jobs=2)
    same_results(result.results, results)
    assert "no pool today" in caplog.text
    assert result.n_jobs == 1, "the report tells what ran"


def test_full_disk(archive, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        run_all(archive.root, tmp_path / "out", n_jobs=1)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


# ---- the command

EXAMPLES = [  # options of the seed's five examples, file
    ("--year 1998", "artifacts/potential_cache/potential_batch_1998.npz"),
    (
        "--year 1998 --month 6 --overwrite",
        "artifacts/potential_cache/potential_batch_1998_06.npz",
    ),
    (
        "--year 1998 --month 1 --no-parallel",
        "artifacts/potential_cache/potential_batch_1998_01.npz",
    ),
    ("--year 1998 --output-dir ./my_cache", "my_cache/potential_batch_1998.npz"),
    (
        "--year 1998 --month 1 -v",
        "artifacts/potential_cache/potential_batch_1998_01.npz",
    ),
]


@pytest.mark.parametrize("options, name", EXAMPLES)
def test_examples(home, options, name, capsys):
    assert main(options.split()) == 0
    assert (home / name).is_file()
    out, err = capsys.readouterr()
    assert (
        "fitted" in out
        and "coordinates" in out
        and "spacecraft potential" in out
        and "surface fit" in out
        and name in out
    )
    assert "days:" not in err, "no progress bar without a terminal"


def test_every_option(home, capsys):
    options = (
        "--start 1998-06-01 --end 1998-06-30 --limit 1 --workers 3 --per-file "
        "--fit-method lillis --u-spacecraft 5 --direction travel --quiet"
    )
    assert (
        main(
            [
                *options.split(),
                "--data-dir",
                os.environ["LUNAR_POTENTIAL_DATA"],
                "--output-dir",
                "a b",
            ]
        )
        == 0
    )
    assert [path.name for path in (home / "a b").iterdir()] == ["3D980614.npz"]
    assert (
        read_meta(home / "a b" / "3D980614.npz")["config"]
        == Config("lillis", 5.0).to_dict()
    )
    assert capsys.readouterr().out == ""


def test_dry_run_writes_nothing(home, capsys):
    assert main(["--year", "1998", "--dry-run"]) == 0
    assert capsys.readouterr().out.count("to do") == 3 and list(home.iterdir()) == []


def _one_sentence(capsys, *words):
    out, err = capsys.readouterr()
    assert (
        "Traceback" not in err
        and err.count("\n") == 1
        and all(word in err for word in words)
    ), err


@pytest.mark.parametrize(
    "options, status, words",
    [
        ("--month 6", 2, ["month needs its year"]),
        ("--year 1998 --start 1998-01-01", 2, ["not both"]),
        ("--u-spacecraft nan", 2, ["volts"]),
        ("--year 1999", 1, ["matches year 1999", "1998-01-20 to 1998-06-15"]),
        ("--data-dir nowhere", 1, ["nowhere"]),
        ("--workers 0", 1, ["1 or more"]),
    ],
)
def test_mistakes_end_in_one_sentence(home, options, status, words, capsys):
    assert main(options.split()) == status
    _one_sentence(capsys, *words)


@pytest.mark.parametrize("what", ["theta.tab", "attitude.tab", "spice_kernels"])
def test_missing_input_ends_in_one_sentence(own_archive, home, what, capsys):
    path = own_archive.root / what
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert main(["--data-dir", str(own_archive.root)]) == 1
    _one_sentence(capsys, "lacks", "kernel" if path.name == "spice_kernels" else what)


def test_every_sweep_failing_ends_in_one_sentence(own_archive, home, capsys):
    path = own_archive.files()[0]
    path.rename(path.with_name("3D950120.TAB"))
    path = path.with_name("3D950120.TAB")
    lines = path.read_bytes().splitlines(keepends=True)
    old = [
        line.replace(
            line.split()[1],
            str(int(line.split()[1]) - (3 * 365 + 1) * 86400).encode(),
            1,
        ).replace(b"1998-", b"1995-", 1)
        for line in lines
    ]
    path.write_bytes(b"".join(old))
    assert main(["--year", "1995", "--data-dir", str(own_archive.root)]) == 1
    _one_sentence(
        capsys, "every sweep failed", f"coverage of the SPICE kernels ({SWEEPS})"
    )
    assert (home / "artifacts/potential_cache/potential_batch_1995.npz").exists(), (
        "the reasons are in the file"
    )


def test_output_that_cannot_be_written(home, capsys):
    (home / "file").write_text("in the way")
    assert main(["--year", "1998", "--output-dir", "file", "--no-parallel"]) == 1
    _one_sentence(capsys, "could not write")


def test_a_failed_day_is_a_warning(archive, home, monkeypatch, capsys):
    real = batch.process_lp_file
    monkeypatch.setattr(
        batch,
        "process_lp_file",
        lambda path, **o: 1 / 0 if "0614" in path.name else real(path, **o),
    )
    assert main(["--year", "1998", "--no-parallel"]) == 0
    _one_sentence(capsys, "warning: 3D980614.TAB was left out", "ZeroDivisionError")


def test_ctrl_c(home, monkeypatch, capsys):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "process_days", stopped)
    assert main(["--year", "1998"]) == 130
    _one_sentence(capsys, "stopped", "the same again does the rest")


def test_as_a_module(home, archive, results):
    command = [
        sys.executable,
        "-m",
        "lunar_potential.batch",
        "--year",
        "1998",
        "--month",
        "6",
        "--workers",
        "2",
        "--output-dir",
        "out",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=home)
    assert ran.returncode == 0 and ran.stderr == "", ran.stderr
    june = results.select(results.spec["file_index"] > 0)
    np.testing.assert_array_equal(
        read_results(home / "out").spec["u_surface"], june.spec["u_surface"]
    )


def test_a_damaged_line_costs_no_more_than_itself(tmp_path, archive):
    data = tmp_path / "data"
    shutil.copytree(archive.root, data)
    day = sorted(data.rglob("3D*.TAB"))[0]
    lines = day.read_bytes().splitlines(keepends=True)
    day.write_bytes(b"".join([*lines[:20], b"garbage\r\n", *lines[21:]]))
    result = run_all(data_dir=data, output_dir=tmp_path / "out", quiet=True)
    assert (
        result.results.rejected["line"].tolist() == [21]
        and not result.results.rejected["lost"].any()
    )
    again = run_all(data_dir=data, output_dir=tmp_path / "out", quiet=True)
    assert again.results.n_sweeps == result.results.n_sweeps


def test_stages_of_a_run(home, capsys):
    assert main(["--year", "1998", "--month", "6", "--day", "15", "--no-parallel"]) == 0
    out = capsys.readouterr().out
    lines = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    for stage in ("read", "coordinates", "spacecraft potential", "surface fit"):
        assert len(lines[stage]) == len(stage.split()) + 3
    assert "NaN" not in out and "earlier" not in out
    result = run_day(1998, 6, 15)
    assert result.stage_table().empty, "nothing ran"
    again = run_day(1998, 6, 15, overwrite=True)
    assert "NaN" not in again._repr_html_() and "earlier" not in again._repr_html_()
    table = again.stage_table()
    assert table["of the run (s)"].sum() == pytest.approx(again.wall, rel=0.25)
    assert table["share %"].sum() == pytest.approx(100, rel=0.25)
    assert {"plan", "other", "start and wait", "merge", "report"} <= set(
        table.index
    ) and again.memory > 50


def test_days_that_choose_their_response_are_the_same_on_any_number_of_workers(
    tmp_path,
):
    simulate_archive(
        tmp_path / "data",
        dates=("1998-04-01", "1998-04-11"),
        sweeps_per_day=210,
        cadence=400,
        seed=6,
        scenario="plain",
        response_fwhm=0.58,
    )
    written, config = set(), Config(fit_method="likelihood")
    for n_jobs in (1, 2, 3):
        how = {"n_jobs": n_jobs, "quiet": True, "config": config}
        result = run_all(tmp_path / "data", tmp_path / str(n_jobs), **how)
        assert all(
            day["response"]["fwhm"] > 0.53
            for day in read_results(result.paths[0]).meta["calibration"].values()
        )
        written.add(result.paths[0].read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_bar_counts_every_sweep_once(own_archive, tmp_path, monkeypatch, n_jobs):
    class Bar:
        n = 0

        def update(self, amount):
            self.n += amount

    bar = Bar()
    monkeypatch.setattr(
        batch, "progress_bar", lambda *_, **__: contextlib.nullcontext(bar)
    )
    items = plan_days(own_archive, Period(), tmp_path / "out")
    items[1].source.write_bytes(b"no table")
    records = process_days(items, n_jobs, quiet=True)
    assert [bool(record["reason"]) for record in records.values()] == [
        False,
        True,
        False,
    ]
    assert bar.n == sum(record["sweeps"] for record in records.values()) == 2 * SWEEPS


def test_workers_that_compiled_give_it_a_row_of_its_own(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "warm_up", lambda config, *_, **__: 40.0)
    result = run_day(1998, 6, 15, archive.root, tmp_path / "out", n_jobs=1)
    table = result.stage_table()
    assert list(table.index)[:2] == ["plan", "compiling"]
    assert table.loc["compiling", "seconds"] == 80.0, "the parent, then its worker"
