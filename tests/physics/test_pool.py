"""The pool of kernels: one owner, the bytes whose hash is given, short names."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import spiceypy as sp
from known_orbit import orbit_kernels, spin_axis_table

from lunar_potential.data.archive import ArchiveError
from lunar_potential.physics import pool
from lunar_potential.physics.ephemeris import (
    disagreements,
    ephemeris,
    unix_seconds,
    unix_to_et,
)
from lunar_potential.physics.geometry import compute_geometry
from lunar_potential.physics.pool import LONGEST, SPICE_LOCK, furnish, short_path
from lunar_potential.synthetic.kernels import (
    leap_second_text,
    planetary_constants_text,
    state_function,
    sun_position,
    utc_to_et,
    write_kernels,
    write_spk,
)

NEW_YEAR = np.datetime64("1999-01-01T00:00:00")
UTC = NEW_YEAR + 100 * np.arange(-400, 400).astype("timedelta64[s]")
UNIX = unix_seconds(UTC)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return orbit_kernels(tmp_path_factory)


@pytest.fixture(scope="module")
def low(tmp_path_factory):
    "Kernels with the same names and sizes as `kernels`, of a lower orbit."
    folder = tmp_path_factory.mktemp("low")
    return write_kernels(folder, "1998-12-30", "1999-01-03", altitude=30.0)


@pytest.fixture
def own(kernels, tmp_path):
    "Copies of the kernels that a test may damage: name without ending -> path."
    for path in kernels:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return {path.name.split("_")[0]: path for path in tmp_path.iterdir()}


def positions(kernels, unix=UNIX):
    return ephemeris(unix_to_et(unix, kernels), kernels).position


def orbit_of(paths):
    return next(path for path in paths if path.name.startswith("lp_ask"))


# --- one owner


def test_two_sets_in_many_threads_answer_as_each_alone(kernels, low, tmp_path_factory):
    attitude = spin_axis_table(tmp_path_factory)
    b = np.tile([1.0, 2.0, 3.0], (len(UTC), 1))

    def ask(paths):
        found = compute_geometry(UTC, b, attitude, paths)
        return [found.lat, found.alt, found.b_moon, found.foot_lat, found.sc_lit]

    alone, wrong = {id(paths): ask(paths) for paths in (kernels, low)}, []
    assert not np.array_equal(alone[id(kernels)][1], alone[id(low)][1])
    barrier = threading.Barrier(4)

    def work(paths):
        barrier.wait()
        for _ in range(6):
            for one, other in zip(ask(paths), alone[id(paths)]):
                if not np.array_equal(one, other, equal_nan=True):
                    wrong.append(paths)

    threads = [threading.Thread(target=work, args=(p,)) for p in (kernels, low) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "change",
    [
        sp.kclear,
        sp.clpool,
        lambda: sp.pdpool("BODY301_PM", [0.0, 0.0, 0.0]),
        lambda: sp.unload(sp.kdata(0, "SPK")[0]),
    ],
)
def test_other_code_that_changes_the_pool(kernels, change):
    whole = furnish(kernels)
    before = ephemeris(unix_to_et(UNIX, whole), whole)
    change()
    after = ephemeris(unix_to_et(UNIX, whole), whole)
    assert np.array_equal(before.position, after.position)
    assert np.array_equal(before.rotation, after.rotation)
    with pytest.raises(ArchiveError, match="changed while positions were computed"):
        with whole.loaded():
            change()


def test_a_kernel_that_other_code_adds(kernels, low):
    before = positions(kernels)
    sp.furnsh(str(orbit_of(low)))
    assert np.array_equal(positions(kernels), before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_while_another_thread_asks_does_not_hang(kernels):
    held, go = threading.Event(), threading.Event()

    def hold():
        with SPICE_LOCK:
            held.set()
            go.wait(300)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    timer = threading.Timer(0.3, go.set)
    timer.start()
    child = os.fork()
    if not child:
        os._exit(0 if np.isfinite(positions(kernels)).all() else 1)
    for _ in range(3000):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
    thread.join()
    assert done and status == 0


# --- the bytes whose hash is given


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_kernel_that_is_swapped_again_and_again_never_bears_the_wrong_hash(
    kernels, low, own
):
    "Size and time of modification stay; half of the swaps write into the same file."
    target, sources = own["lp"], (orbit_of(kernels), orbit_of(low))
    truth = {digest(orbit_of(paths)): positions(paths) for paths in (kernels, low)}
    contents, stop = [path.read_bytes() for path in sources], threading.Event()
    assert len({len(content) for content in contents}) == 1
    rng = np.random.default_rng(15)

    def swap():
        turn = 0
        while not stop.wait(rng.uniform(0.0, 0.15)):
            turn += 1
            place = target if turn % 4 < 2 else target.with_suffix(".new")
            place.write_bytes(contents[turn % 2])
            os.utime(place, (1e9, 1e9))
            os.replace(place, target)

    thread, seen, errors = threading.Thread(target=swap), [], 0
    thread.start()
    try:
        while len(set(seen)) < 2 or len(seen) + errors < 60:
            try:
                current = furnish(own.values())
                found = positions(current)
            except ArchiveError:  # half a file, or one that changed meanwhile
                errors += 1
                continue
            seen.append(current.hashes[target.name])
            assert np.array_equal(found, truth[seen[-1]]), seen[-1]
    finally:
        stop.set()
        thread.join()


def test_a_set_stands_for_its_bytes(own, low):
    current = furnish(own.values())
    before = positions(current)
    os.utime(own["pck00011.tpc"])  # touched, the same bytes
    assert np.array_equal(positions(current), before)
    own["lp"].write_bytes(orbit_of(low).read_bytes())
    with pytest.raises(ArchiveError, match=f"{own['lp'].name} changed since"):
        positions(current)
    assert furnish(own.values()).hashes[own["lp"].name] == digest(own["lp"])


def test_files_that_never_rest_are_refused(own, monkeypatch):
    real = pool._examine

    def examine(path):
        os.utime(own["lpephemu.bsp"])
        return real(path)

    monkeypatch.setattr(pool, "_examine", examine)
    with pytest.raises(ArchiveError, match="change while they are read"):
        furnish(own.values())


# --- kernels that are cut, or contradict each other


@pytest.mark.parametrize("name", ["lp", "lpephemu.bsp"])
@pytest.mark.parametrize("lost", [1, 1500, 6000])
def test_a_trajectory_that_was_cut_is_no_lack_of_coverage(own, name, lost):
    content = own[name].read_bytes()
    with sp.KernelPool([]):
        handle = sp.dafopr(str(own[name]))
        sp.dafbfs(handle)
        ends = []
        while sp.daffna():
            ends.append(8 * int(sp.dafus(sp.dafgs(), 2, 6)[1][5]))
        sp.dafcls(handle)
    own[name].write_bytes(content[: max(ends) - lost])
    with pytest.raises(ArchiveError, match=f"{own[name].name}.* ends early"):
        furnish(own.values())


@pytest.mark.parametrize("part", [0.2, 0.4, 0.6, 0.8])
def test_an_error_of_spice_is_no_lack_of_coverage(own, part):
    content = bytearray(own["lp"].read_bytes())
    at = int(len(content) * part) // 1024 * 1024
    content[at : at + 1024] = b"\xff" * 1024
    own["lp"].write_bytes(content)
    try:
        found = positions(own.values())
    except ArchiveError as error:
        assert own["lp"].name in str(error) or "damaged" in str(error)
    else:
        assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "last", ["1981-JUL-1", "1985-JUL-1", "1997-JUL-1", "1999-JAN-1"]
)
def test_leap_seconds_that_end_too_early(own, last):
    text = leap_second_text()
    cut = text.index(last) + len(last)
    name = own["latest"].name
    own["latest"].write_text(text[:cut])
    with pytest.raises(ArchiveError, match=name):
        furnish(own.values())
    own["latest"].write_text(text[:cut] + " )\n\\begintext\n")
    before, after = UNIX[UTC < NEW_YEAR], UNIX[UTC >= NEW_YEAR]
    for good, unix in ((last >= "1997", before), (last >= "1999", after)):
        if good:
            expected = utc_to_et(unix.astype("M8[s]"))
            found = unix_to_et(unix, own.values())
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
        else:
            with pytest.raises(ArchiveError, match=f"leap second of .* in {name}"):
                unix_to_et(unix, own.values())


def test_a_wild_time_does_not_ask_for_later_leap_seconds(own):
    text = leap_second_text().partition(",\n    33,")[0]
    own["latest"].write_text(text + " )\n\\begintext\n")
    unix = np.array([UNIX[0], np.nan, 2e9])
    assert np.isfinite(unix_to_et(unix, own.values())).tolist() == [True, False, True]


@pytest.mark.parametrize("size", range(200, 1200, 100))
def test_half_a_file_of_constants(own, size):
    content = planetary_constants_text().encode()[:size]
    own["pck00011.tpc"].write_bytes(content[: content.rindex(b"\n") + 1])
    with pytest.raises(ArchiveError, match="pck00011.tpc"):
        furnish(own.values())


def test_two_orbits_count_where_both_hold_the_data(kernels, low, own):
    rival = own["lp"].with_name("lp_ask_a.bsp")
    write_kernels(rival.parent / "rival", "1998-12-30", "1999-01-01", altitude=30.0)
    os.replace(orbit_of((rival.parent / "rival").iterdir()), rival)
    paths = [*own.values(), rival]
    names = f"{own['lp'].name} and {rival.name} put the spacecraft .* {rival.name}, the"
    with pytest.raises(ArchiveError, match=names):
        positions(paths)
    with pytest.raises(ArchiveError, match=names):
        positions(paths, UNIX[:1])
    later = UNIX[UTC > NEW_YEAR]
    assert np.array_equal(positions(paths, later), positions(kernels, later))
    rival.write_bytes(own["lp"].read_bytes())  # the same orbit twice
    assert np.array_equal(positions(paths), positions(kernels))


def disagreement(paths):
    "The sentences about kernels that differ."
    return [sentence for sentence, _ in disagreements(UNIX, paths)]


@pytest.mark.parametrize(
    "turn, named, refused",
    [
        ("38.3213", False, False),
        ("38.33", False, False),
        ("38.5", True, False),
        ("40", True, True),
    ],
)
def test_two_files_of_constants(kernels, own, turn, named, refused):
    second = own["lp"].with_name("pck00012.tpc")
    second.write_text(planetary_constants_text().replace("38.3213", turn))
    paths = [*own.values(), second]
    words = "pck00011.tpc and pck00012.tpc put the axes of the Moon up to"
    if refused:
        with pytest.raises(ArchiveError, match=f"{words} 1.68 deg"):
            positions(paths)
    else:
        assert np.array_equal(positions(paths), positions(kernels))
    assert [text.startswith(words) for text in disagreement(paths)] == [True] * named


def test_the_seam_of_two_arcs_is_named_and_the_last_one_wins(own):
    rival = own["lp"].with_name("lp_ask_z.bsp")
    arc = write_kernels(
        rival.parent / "z", "1998-12-30", "1999-01-01T02:00", altitude=100.05
    )
    os.replace(orbit_of(arc), rival)
    paths = [*own.values(), rival]
    ((sentence, times),) = disagreements(UNIX, paths)
    assert f"{own['lp'].name} and lp_ask_z.bsp put the spacecraft up to" in sentence
    assert sentence.endswith("lp_ask_z.bsp, the last by name, wins")
    inside = UTC <= np.datetime64("1999-01-01T02:00:00")
    alone = positions([path for path in paths if path != own["lp"]], UNIX[inside])
    assert np.array_equal(positions(paths)[inside], alone)
    assert times == inside.sum()


def test_two_suns(own):
    second = own["lp"].with_name("sun.bsp")
    second.write_bytes(own["lpephemu.bsp"].read_bytes())
    assert np.isfinite(positions([*own.values(), second])).all()
    first, last = utc_to_et(["1998-12-30", "1999-01-03"])
    far = state_function(lambda et: np.roll(sun_position(et), 1, axis=-1))
    second.unlink()
    write_spk(second, [(10, 3, 86400.0, far)], first, last)
    with pytest.raises(
        ArchiveError, match="lpephemu.bsp and sun.bsp put the direction"
    ):
        positions([*own.values(), second])


# --- names


def deep_folder(root, length):
    "A folder whose path has `length` bytes, in components of at most 100."
    while len(os.fsencode(root)) < length:
        root = root / ("d" * min(100, max(1, length - len(os.fsencode(root)) - 1)))
    root.mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    "length", [200, LONGEST - 12, LONGEST - 11, LONGEST, 300, 1500]
)
def test_paths_of_any_length(kernels, tmp_path, length):
    folder = deep_folder(tmp_path, length)
    paths = [folder / path.name for path in kernels]
    for path, source in zip(paths, kernels):
        path.write_bytes(source.read_bytes())
    assert np.array_equal(positions(paths), positions(kernels))
    names = [sp.kdata(n, "ALL")[0] for n in range(sp.ktotal("ALL"))]
    assert all(len(os.fsencode(name)) <= LONGEST for name in names)
    assert list(furnish(paths).hashes) == [path.name for path in kernels]


def test_kernels_are_written_into_deep_folders(kernels, tmp_path):
    folder = deep_folder(tmp_path, 600)
    deep = write_kernels(folder, "1998-12-30", "1999-01-03")
    assert [path.read_bytes() for path in deep] == [p.read_bytes() for p in kernels]


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_names_that_are_no_utf_8(kernels, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/L\xfcbeck"))
    folder.mkdir()
    for path in kernels:
        (folder / path.name).write_bytes(path.read_bytes())
    assert np.array_equal(positions(list(folder.iterdir())), positions(kernels))


def test_links_go_with_the_process(kernels, tmp_path):
    temporary = tmp_path / "t"
    temporary.mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from lunar_potential.physics.pool import short_path\n"
        "link = Path(short_path(sys.argv[1]))\n"
        "print(link.parent, link.is_file())"
    )
    long = deep_folder(tmp_path, 300) / "a.bsp"
    long.write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-c", code, str(long)],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=True,
    )
    folder, there = done.stdout.split()
    assert there == "True" and folder.startswith(str(temporary))
    assert not Path(folder).exists() and not list(temporary.iterdir())


def test_no_short_temporary_folder(monkeypatch, tmp_path):
    deep = deep_folder(tmp_path, 300)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    path = deep / "a.bsp"
    path.write_bytes(b"")
    pool._links.cache_clear()
    assert len(short_path(path)) <= LONGEST
    monkeypatch.setattr(pool, "short_folder", lambda *a: None)
    pool._links.cache_clear()
    with pytest.raises(ArchiveError, match="TMPDIR"):
        short_path(path)
    monkeypatch.undo()
    pool._links.cache_clear()
