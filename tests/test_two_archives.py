"""Two archives in threads of one process: each gets the numbers that it gets alone."""

import shutil
import threading

import numpy as np
import pytest
from simulated_days import same_results

from lunar_potential.batch import run_day
from lunar_potential.config import input_hashes
from lunar_potential.data.archive import Archive, ArchiveError
from lunar_potential.pipeline import load_all_data, process_merged_data
from lunar_potential.quality.validate.inputs import row_geometry
from lunar_potential.run.files import OutputError
from lunar_potential.synthetic.kernels import leap_second_text, write_kernels
from lunar_potential.synthetic.simulate import simulate_archive
from lunar_potential.view.explore.refit import open_day


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    "Two archives of one day that differ in the orbit, names and sizes equal."
    root = tmp_path_factory.mktemp("two")
    simulate_archive(root / "high", sweeps_per_day=8, cadence=10000, seed=3)
    shutil.copytree(root / "high", root / "low")
    folder = root / "low" / "spice_kernels"
    (orbit,) = folder.glob("lp_ask_*")
    write_kernels(root / "k", "1998-03-31", "1998-04-03", altitude=30.0)
    (other,) = (root / "k").glob("lp_ask_*")
    assert other.stat().st_size == orbit.stat().st_size
    other.replace(folder / orbit.name)
    return [Archive(root / name) for name in ("high", "low")]


def process(archive):
    return process_merged_data(
        load_all_data(archive.files(), archive.theta), archive=archive
    )


def test_pipeline_explore_and_validate_in_threads_equal_each_alone(archives):
    alone = [process(archive) for archive in archives]
    places = [one.spec["spacecraft_altitude"] for one in alone]
    assert np.abs(places[0] - places[1]).min() > 60
    assert [one.meta["inputs"] for one in alone] == [*map(input_hashes, archives)]
    utc, b = (
        alone[0].rows["utc"],
        np.tile([1.0, 2.0, 3.0], (len(alone[0].rows["utc"]), 1)),
    )

    def ask(number):
        archive = archives[number]
        day = open_day(alone[number], archive)
        where = row_geometry(archive, utc, b)
        return process(archive), day.b_moonward, day.block["flux"], where.b_moon

    expected, wrong = [ask(0), ask(1)], []
    barrier = threading.Barrier(4)

    def work(number):
        barrier.wait()
        try:
            for _ in range(3):
                results, *arrays = ask(number)
                same_results(results, expected[number][0])
                assert results.meta == expected[number][0].meta
                for one, other in zip(arrays, expected[number][1:]):
                    np.testing.assert_array_equal(one, other)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in (0, 1, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]


def test_a_kernel_replaced_during_a_run_fails_it(archives, tmp_path, monkeypatch):
    from lunar_potential import pipeline

    archive = Archive(shutil.copytree(archives[0].root, tmp_path / "own"))
    orbit = next(path for path in archive.kernels if "lp_ask" in path.name)
    other = next(path for path in archives[1].kernels if "lp_ask" in path.name)
    real = pipeline.locate

    def replace_and_locate(*args):
        shutil.copy2(other, orbit)
        return real(*args)

    monkeypatch.setattr(pipeline, "locate", replace_and_locate)
    with pytest.raises(ArchiveError, match=f"{orbit.name} changed since it was read"):
        process(archive)
    monkeypatch.undo()
    same_results(process(archive), process(archives[1]))


def fails(archive, output, words):
    with pytest.raises((ArchiveError, OutputError)) as caught:
        run_day(1998, 4, 1, archive.root, output, n_jobs=1, quiet=True)
    assert all(word in str(caught.value) for word in words), caught.value
    assert not list(output.rglob("*.npz"))


def test_a_run_refuses_kernels_that_are_cut_or_contradict(archives, tmp_path):
    archive = Archive(shutil.copytree(archives[0].root, tmp_path / "own"))
    folder = archive.root / "spice_kernels"
    leap = folder / "latest_leapseconds.tls"
    text = leap.read_text()
    leap.write_text(text[: text.index("@1985")])
    fails(archive, tmp_path / "out", ["latest_leapseconds.tls", "cut"])
    leap.write_text(text.partition(",\n    31, ")[0] + " )\n\\begintext\n")
    fails(archive, tmp_path / "out", ["latest_leapseconds.tls", "1997-07-01"])
    leap.write_text(leap_second_text())
    other = next(path for path in archives[1].kernels if "lp_ask" in path.name)
    shutil.copy(other, folder / "lp_ask_second.bsp")
    fails(archive, tmp_path / "out", ["lp_ask_second.bsp", "km apart"])
    (folder / "lp_ask_second.bsp").unlink()
    result = run_day(1998, 4, 1, archive.root, tmp_path / "out", n_jobs=1, quiet=True)
    assert result.results.meta["inputs"] == input_hashes(archives[0])


def test_an_archive_deep_in_the_tree_gives_the_same_numbers(archives, tmp_path):
    deep = tmp_path.joinpath(*["d" * 100] * 3)
    deep.parent.mkdir(parents=True)
    archive = Archive(shutil.copytree(archives[0].root, deep))
    same_results(process(archive), process(archives[0]))


def test_arcs_that_differ_a_little_are_named_in_the_output(archives, tmp_path):
    archive = Archive(shutil.copytree(archives[0].root, tmp_path / "own"))
    near = write_kernels(tmp_path / "k", "1998-03-31", "1998-04-03", altitude=100.05)
    near = next(path for path in near if "lp_ask" in path.name)
    shutil.move(near, archive.root / "spice_kernels" / "lp_ask_z.bsp")
    result = run_day(1998, 4, 1, archive.root, tmp_path / "out", n_jobs=1, quiet=True)
    (line,) = result.results.rejected.to_dict("records")
    assert line["file"] == archive.files()[0].name and not line["lost"]
    assert "lp_ask_z.bsp, the last by name, wins" in line["reason"]
    assert 0 < line["n_rows"] <= len(result.results.rows["utc"])
    assert "lp_ask_z.bsp" in result.results.meta["inputs"]
