"""Films: frames follow the plan, files are whole or absent, pages need no network."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest

from lunar_potential.results import write_results
from lunar_potential.view.globe.interactive import plotly_globe
from lunar_potential.view.globe.moon import moon_texture, plain_texture, quantise
from lunar_potential.view.globe.projection import great_circle_angle
from lunar_potential.view.movie import browser, movie, prerequisites
from lunar_potential.view.movie.film import (
    PREVIEW,
    Film,
    MovieError,
    orbit_views,
    plan_film,
    stage,
    write_mp4,
)
from lunar_potential.view.movie.raster import direct_frames, stamp_discs

SMALL = Film(frames=4, fps=2, width=320, height=240, sample=200)


def _no_chrome():
    "Why the tests that need Chrome are left out; empty when they are not."
    try:
        prerequisites.ensure_chrome()
    except MovieError as error:
        return str(error)
    return ""


needs_chrome = pytest.mark.skipif(
    bool(_no_chrome()), reason=_no_chrome() or "Chrome is here"
)


def sweeps(count=300, seed=3):
    "Invented results all over the Moon."
    rng = np.random.default_rng(seed)
    u = -100 * rng.lognormal(0, 0.4, count)
    return {
        "time_start": 891388800 + 80.0 * np.arange(count),
        "u_surface": u,
        "u_surface_lower_95": u - 20,
        "u_surface_upper_95": u + 10,
        "projection_latitude": np.degrees(np.arcsin(rng.uniform(-1, 1, count))),
        "projection_longitude": rng.uniform(-180, 180, count),
        "projection_in_sun": rng.integers(0, 2, count),
        "subsolar_latitude": np.full(count, 1.0),
        "subsolar_longitude": np.linspace(179, 171, count),
    }


def at(latitude, longitude):
    "Results of one sweep at a place."
    return {
        "time_start": np.array([891388800.0]),
        "u_surface": np.array([-90.0]),
        "projection_latitude": np.array([float(latitude)]),
        "projection_longitude": np.array([float(longitude)]),
        "projection_in_sun": np.array([0]),
    }


def difference(frames, film):
    """Centre of what differs between two frames inside the Moon's square.

    Returns x and y in pixels, and how many pixels differ."""
    square = stage(film)
    part = [
        f[
            square.top : square.top + square.side,
            square.left : square.left + square.side,
        ].astype(int)
        for f in frames
    ]
    rows, columns = np.nonzero(np.abs(part[0] - part[1]).sum(-1) > 60)
    return columns.mean() + 0.5 + square.left, rows.mean() + 0.5 + square.top, len(rows)


# plan


def test_two_numbers_give_the_third():
    assert plan_film() == Film() and Film().duration == 6
    assert plan_film(frames=60, duration=8).fps == 7.5
    assert plan_film(duration=2, fps=30).frames == 60
    assert plan_film(duration=4, base=PREVIEW).frames == 30
    assert plan_film(frames=10, duration=2, fps=5, width=640).width == 640
    assert (
        PREVIEW.frames,
        PREVIEW.duration,
        PREVIEW.width,
        PREVIEW.height,
        PREVIEW.sample,
    ) == (60, 8, 800, 600, 1000)


@pytest.mark.parametrize(
    "numbers, word",
    [
        ({"frames": 10, "duration": 9, "fps": 5}, "leave one"),
        ({"frames": 0}, "at least 1 frame"),
        ({"duration": -1}, "positive"),
        ({"width": 321}, "even"),
        ({"height": 80}, "at least 120"),
    ],
)
def test_impossible_films(numbers, word):
    with pytest.raises(ValueError, match=word):
        plan_film(**numbers)


def test_camera_goes_once_round():
    views = orbit_views(8, 20, 100)
    assert views[0] == (20, 100) and views[4] == (20, -80) and len(set(views)) == 8
    assert np.allclose(np.diff(np.unwrap([v[1] for v in views], period=360)), 45)
    with pytest.raises(ValueError, match="latitude"):
        orbit_views(8, 90)


@pytest.mark.parametrize(
    "width, height", [(1280, 960), (800, 600), (320, 240), (480, 960), (1920, 400)]
)
def test_moon_has_room(width, height):
    square = stage(Film(width=width, height=height))
    assert (
        square.left >= 0
        and square.top > 0
        and square.left + square.side <= 0.9 * width
        and square.top + square.side < height
    )
    assert 1.12 * square.radius < square.side / 2


# direct


@pytest.mark.parametrize("view", [(0, 0), (15, -20), (-60, 130), (0, 180)])
@pytest.mark.parametrize("place", [(33, 10), (-50, 100), (5, -170), (8, -9)])
def test_marker_is_where_it_belongs_or_hidden(view, place):
    bare, marked = (
        next(direct_frames(results, [view], SMALL, texture=False, limit=100))
        for results in ({k: v[:0] for k, v in at(0, 0).items()}, at(*place))
    )
    x, y, depth, free = stage(SMALL).place(*place, view)
    assert (depth > -1e-9) == (great_circle_angle(*place, *view) <= 90)
    if free:
        found = difference((bare, marked), SMALL)
        assert np.hypot(found[0] - x, found[1] - y) < 1
    else:
        square = stage(SMALL)
        assert (bare == marked)[
            square.top : square.top + square.side,
            square.left : square.left + square.side,
        ].all()


def test_nearer_markers_cover_farther_ones():
    frame = np.zeros((20, 20, 3), np.uint8)
    colours = np.array([[250.0, 0, 0], [0, 250, 0], [0, 0, 250]])
    stamp_discs(
        frame,
        np.full(3, 10.0),
        np.full(3, 10.0),
        np.array([0.2, 0.9, 0.5]),
        np.array([8.0, 3, 5]),
        colours,
        colours,
        1.0,
    )
    assert (
        frame[10, 10].tolist() == [0, 250, 0]
        and frame[10, 13].tolist()[1] < 250
        and frame[10, 14, 2] > 200
        and frame[10, 17, 0] == 250
    )
    stamp_discs(
        frame,
        np.array([-2.0, 25]),
        np.array([10.0, 10]),
        np.zeros(2),
        np.full(2, 4.0),
        colours[:2],
        colours[:2],
        1.0,
    )
    assert frame[10, 0, 0] > 200 and frame[10, 19].tolist() == [0, 0, 0]


def test_texture_turns_with_the_camera():
    texture = quantise(
        np.repeat(np.linspace(0, 1, 360)[None], 180, 0)
    )  # bright in the east of the far side
    square = stage(SMALL)
    middle = square.top + square.side // 2, square.left + square.side // 2
    for longitude in (-135.0, -30.0, 5.0, 170.0):
        frame = next(
            direct_frames(at(-80, 0), [(10, longitude)], SMALL, texture=texture)
        )
        assert (
            abs(int(frame[middle[0], middle[1] + 2, 0]) - (longitude + 180) / 360 * 255)
            < 6
        )
    upright = quantise(np.repeat(np.linspace(1, 0, 180)[:, None], 360, 1))
    frame = next(direct_frames(at(-80, 0), [(0, 5)], SMALL, texture=upright))
    height = np.sin(np.radians(45)) * square.radius
    assert abs(int(frame[round(middle[0] - height), middle[1] + 9, 0]) - 0.75 * 255) < 6


def test_night_and_sun_are_drawn():
    day, both = (
        next(direct_frames(sweeps(), [(0, 90)], SMALL, subsolar=sun, texture=False))
        for sun in (None, (0, 0))
    )
    square = stage(SMALL)
    row, column = square.top + square.side // 2 + 20, square.left + square.side // 2
    assert (
        both[row, column + 60].sum() < 0.7 * day[row, column + 60].sum()
        and both[row, column - 60].sum() > 0.9 * day[row, column - 60].sum()
    )


def test_nothing_to_draw_is_no_error():
    assert (
        len(
            list(
                direct_frames({k: v[:0] for k, v in sweeps().items()}, [(0, 0)], SMALL)
            )
        )
        == 1
    )


# files


def read_back(path):
    "Number of frames, their size, frames a second, seconds, first frame."
    with imageio.get_reader(path) as reader:
        about = reader.get_meta_data()
        frames = [np.asarray(frame) for frame in reader]
    return (
        len(frames),
        frames[0].shape[1::-1],
        about["fps"],
        about["duration"],
        frames[0],
    )


def test_film_reads_back(tmp_path):
    path = movie.movie_mp4(sweeps(), tmp_path / "new" / "film.mp4", SMALL, longitude=40)
    count, size, fps, seconds, first = read_back(path)
    assert (count, size, fps, seconds) == (4, (320, 240), 2, 2)
    drawn = next(direct_frames(sweeps(), [(15, 40)], SMALL))
    assert np.abs(first.astype(int) - drawn).mean() < 6
    assert [p.name for p in path.parent.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("width, height", [(322, 242), (800, 600)])
def test_sizes_are_kept(tmp_path, width, height):
    film = Film(frames=2, fps=5, width=width, height=height, sample=20)
    assert read_back(
        movie.movie_mp4(sweeps(), tmp_path / "film.mp4", film, texture=False)
    )[1] == (width, height)


def test_broken_films_leave_nothing_behind(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"older film")

    def frames(end):
        yield np.zeros((240, 320, 3), np.uint8)
        if isinstance(end, BaseException):
            raise end
        yield end

    for end in (
        RuntimeError("no more"),
        KeyboardInterrupt(),
        np.zeros((120, 320, 3), np.uint8),
    ):
        with pytest.raises((RuntimeError, KeyboardInterrupt, ValueError)):
            write_mp4(frames(end), path, 5)
    with pytest.raises(ValueError, match="no frame"):
        write_mp4(iter(()), path, 5)
    assert path.read_bytes() == b"older film" and [
        p.name for p in tmp_path.iterdir()
    ] == ["film.mp4"]


def test_film_that_ffmpeg_cannot_write(tmp_path, monkeypatch):
    import imageio_ffmpeg

    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho 'disk full' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg._io, "get_ffmpeg_exe", lambda: str(fake))
    with pytest.raises(MovieError, match="FFmpeg"):
        movie.movie_mp4(sweeps(), tmp_path / "out" / "film.mp4", SMALL)
    assert list((tmp_path / "out").iterdir()) == []


def test_ffmpeg_that_is_named_and_not_there(tmp_path):
    "The message names the variable, from the library and from the command."
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from lunar_potential.view.movie.film import write_mp4\n"
        "from lunar_potential.view.movie.prerequisites import check_prerequisites\n"
        "print(check_prerequisites()[0].advice)\n"
        "write_mp4(iter([np.zeros((16, 16, 3), np.uint8)]), sys.argv[1], 10.0)\n"
    )
    environment = {
        **os.environ,
        "IMAGEIO_FFMPEG_EXE": str(tmp_path / "gone" / "ffmpeg"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "film.mp4")],
        env=environment,
        capture_output=True,
        text=True,
    )
    said = done.stderr.splitlines()[-1]
    for words in (said, done.stdout):
        assert "IMAGEIO_FFMPEG_EXE names" in words and "gone" in words
    assert done.returncode and "MovieError" in said and not list(tmp_path.iterdir())


def test_ffmpeg_that_is_named_and_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", _program(tmp_path / "ffmpeg", "exit 1"))
    with pytest.raises(MovieError, match="IMAGEIO_FFMPEG_EXE names .*ffmpeg"):
        movie.movie_mp4(sweeps(), tmp_path / "out" / "film.mp4", SMALL)
    assert list((tmp_path / "out").iterdir()) == []


# Chrome


def _program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_missing_chrome_is_said_before_anything_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    advice = "BROWSER_PATH names .*apt-get install chromium.*plotly_get_chrome"
    with pytest.raises(MovieError, match=advice):
        movie.movie_mp4(sweeps(), tmp_path / "film.mp4", SMALL, engine="plotly")
    assert list(tmp_path.iterdir()) == []
    needs = {need.name: need for need in prerequisites.check_prerequisites()}
    assert (
        needs["FFmpeg"].found
        and not needs["Chrome"].found
        and "install" in needs["Chrome"].advice
    )


def test_chrome_is_fetched_only_when_allowed(tmp_path, monkeypatch):
    import plotly.io

    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(
        plotly.io,
        "get_chrome",
        lambda: Path(_program(tmp_path / "chrome", "echo Chrome 1.0")),
    )
    with pytest.raises(MovieError):
        prerequisites.ensure_chrome()
    assert prerequisites.ensure_chrome(fetch=True) == tmp_path / "chrome"
    monkeypatch.setattr(
        plotly.io, "get_chrome", lambda: (_ for _ in ()).throw(OSError("no network"))
    )
    with pytest.raises(MovieError, match="no network"):
        prerequisites.ensure_chrome(fetch=True)


def test_chrome_without_its_libraries(tmp_path, monkeypatch):
    says = (
        "echo 'error while loading shared libraries: libnss3.so: "
        "cannot open shared object file' >&2; exit 127"
    )
    monkeypatch.setenv("BROWSER_PATH", _program(tmp_path / "chrome", says))
    monkeypatch.setattr(
        prerequisites.ctypes.util,
        "find_library",
        lambda name: None if name == "nss3" else f"lib{name}.so",
    )
    with pytest.raises(MovieError, match="libnss3"):
        prerequisites.ensure_chrome()
    lacking = [need for need in prerequisites.check_prerequisites() if not need.found]
    assert "Chrome" in [need.name for need in lacking] and (
        "libnss3 (Debian: libnss3)" in [need.name for need in lacking]
        or not sys.platform.startswith("linux")
    )


def test_chrome_that_dies(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "BROWSER_PATH",
        _program(tmp_path / "chrome", '[ "$1" = --version ] && echo Chrome 1.0'),
    )
    with pytest.raises(MovieError):
        movie.movie_mp4(
            sweeps(), tmp_path / "out" / "film.mp4", SMALL, engine="plotly", timeout=20
        )
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@needs_chrome
def test_engines_put_a_marker_on_the_same_pixel():
    film, views, place = (
        Film(frames=1, width=480, height=360),
        [(15, -20), (-35, 60), (60, -5)],
        (33, 10),
    )
    options, hidden, spots = {"texture": False, "limit": 100}, at(-20, -150), {}
    for engine in (direct_frames, movie.plotly_frames):
        pairs = zip(
            *(
                engine(results, views, film, **options)
                for results in (hidden, at(*place))
            )
        )
        spots[engine.__name__] = np.array(
            [difference(pair, film)[:2] for pair in pairs]
        )
    plan = np.array([stage(film).place(*place, view)[:2] for view in views])
    assert np.hypot(*(spots["direct_frames"] - spots["plotly_frames"]).T).max() <= 2
    assert np.hypot(*(spots["plotly_frames"] - plan).T).max() <= 2


@needs_chrome
def test_plotly_film_reads_back(tmp_path):
    path = movie.movie_mp4(
        sweeps(),
        tmp_path / "film.mp4",
        SMALL,
        engine="plotly",
        texture=moon_texture(240, 480),
        pages=2,
        timeout=600,
    )
    count, size, fps, seconds, first = read_back(path)
    assert (count, size, fps, seconds) == (4, (320, 240), 2, 2)
    drawn = next(direct_frames(sweeps(), [(15, 0)], SMALL))
    square = stage(SMALL)
    inside = np.s_[
        square.top + 40 : square.top + square.side - 40,
        square.left + 40 : square.left + square.side - 40,
    ]
    assert np.abs(first[inside].astype(int).mean() - drawn[inside].mean()) < 25
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


@needs_chrome
def test_chrome_killed_in_the_middle(tmp_path, monkeypatch):
    started, opened = [], browser._start_browser

    async def remembered(*args):
        started.append(await opened(*args))
        return started[-1]

    monkeypatch.setattr(browser, "_start_browser", remembered)
    taken = movie.plotly_frames

    def frames(*args, **options):
        for count, frame in enumerate(taken(*args, **options)):
            if count == 1:
                os.killpg(started[0].subprocess.pid, signal.SIGKILL)
            yield frame

    monkeypatch.setattr(movie, "plotly_frames", frames)
    with pytest.raises(MovieError, match="Chrome"):
        movie.movie_mp4(
            sweeps(),
            tmp_path / "film.mp4",
            plan_film(frames=40, base=SMALL),
            engine="plotly",
            texture=False,
            pages=1,
            timeout=600,
        )
    assert list(tmp_path.iterdir()) == []


@needs_chrome
def test_page_plays_and_pauses_without_a_network(tmp_path):
    page = movie.movie_html(sweeps(), tmp_path / "orbit.html", duration=3)
    angles, seen = asyncio.run(_played(page))
    assert angles[0] == pytest.approx(0, abs=1e-6)
    assert (
        abs(angles[1] - angles[0]) > 1
        and angles[2] == angles[3]
        and angles[4] == pytest.approx(90)
    )
    urls = [
        event["params"]["request"]["url"]
        for event in seen
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert urls and all(url.startswith(("file:", "data:", "blob:")) for url in urls)
    assert not [
        e
        for e in seen
        if e["method"] == "Runtime.exceptionThrown"
        or e["method"] == "Log.entryAdded"
        and e["params"]["entry"]["level"] == "error"
    ]


async def _played(page):
    """Longitudes of the camera, and what the browser reported.

    At first, while playing, twice after a pause, after moving the slider."""
    import choreographer

    async with choreographer.Browser() as browser:
        tab, seen = await browser.create_tab(""), []

        async def command(method, **params):
            return (
                await asyncio.wait_for(tab.send_command(method, params=params), 600)
            )["result"]

        async def run(script):
            return (
                await command(
                    "Runtime.evaluate",
                    expression=script,
                    awaitPromise=True,
                    returnByValue=True,
                )
            )["result"].get("value")

        async def note(event):
            seen.append(event)

        for event in (
            "Runtime.exceptionThrown",
            "Log.entryAdded",
            "Network.requestWillBeSent",
        ):
            tab.subscribe(event, note)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await command(f"{domain}.enable")
        loaded = tab.subscribe_once("Page.loadEventFired")
        await command("Page.navigate", url=page.as_uri())
        await asyncio.wait_for(loaded, 600)
        where = (
            "(({x, y}) => Math.atan2(y, x) * 180 / Math.PI)(document"
            ".getElementById('globe')._fullLayout.scene._scene.getCamera().eye)"
        )
        moved = (
            f"new Promise(done => {{ const old = {where}; const look = () => "
            f"Math.abs({where} - old) > 1 ? done(1) : setTimeout(look, 20); look(); }})"
        )
        settled = (
            "new Promise(done => setTimeout(() => requestAnimationFrame("
            "() => requestAnimationFrame(() => done(1))), 300))"
        )
        angles = [await run(f"shown.then(() => {where})")]
        await run("document.getElementById('play').click()")
        await run(moved)
        angles.append(await run(where))
        await run("document.getElementById('play').click()")
        for _ in range(2):
            await run(settled)
            angles.append(await run(where))
        await run(
            "(s => { s.value = 90; s.dispatchEvent(new Event('input')); })"
            "(document.getElementById('longitude'))"
        )
        await run(settled)
        return [*angles, await run(where)], seen


# page and command


def test_page_is_light_and_complete(tmp_path):
    page = movie.movie_html(sweeps(), tmp_path / "orbit.html", duration=7.5)
    text = page.read_text(encoding="utf-8")
    assert (
        page.stat().st_size < 7e6
        and "period = 7.5" in text
        and 'id="play"' in text
        and "const shown" in text
    )
    figure = plotly_globe(sweeps(), mode="animation")
    assert figure.data[0].surfacecolor.shape == (240, 481)
    with pytest.raises(ValueError, match="duration"):
        movie.movie_html(sweeps(), tmp_path / "no.html", duration=0)
    assert [p.name for p in tmp_path.iterdir()] == ["orbit.html"]


def command(*words):
    "Status of the command with these words."
    parser = argparse.ArgumentParser()
    movie.add_movie_arguments(parser)
    return movie.movie_command(parser.parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def cache(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("films") / "potential_batch_1998.npz"
    write_results(results, path)
    return path


def test_command_makes_film_and_page(cache, tmp_path, capsys):
    film = tmp_path / "film.mp4"
    small = ["--frames", 3, "--duration", 1, "--size", "320x240"]
    assert (
        command(
            cache,
            "-o",
            film,
            *small,
            "--sample",
            50,
            "--no-texture",
            "--sun",
            "1998-06-14T12",
        )
        == 0
    )
    assert read_back(film)[:3] == (3, (320, 240), 3)
    said = capsys.readouterr()
    assert said.out.strip() == str(film) and "3 frames of 320 x 240" in said.err
    assert (
        command(
            cache,
            "-o",
            tmp_path / "page.html",
            "--texture-scale",
            0.1,
            "--duration",
            5,
            "--quiet",
        )
        == 0
    )
    assert "period = 5.0" in (tmp_path / "page.html").read_text(encoding="utf-8")
    for words in (
        ["-o", tmp_path / "film.gif"],
        ["--sun", "2005-01-01", *small],
        ["--start", "1999-01-01", "--end", "1998-01-01", *small],
    ):
        with pytest.raises(ValueError):
            command(cache, *words)
    with pytest.raises(ValueError, match="name a result file"):
        command()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_stopped_command_leaves_nothing_behind(cache, tmp_path):
    script = """if True:
        import argparse, sys
        from lunar_potential import batch
        from lunar_potential.view.movie import movie
        parser = argparse.ArgumentParser()
        movie.add_movie_arguments(parser)
        args = parser.parse_args()
        sys.exit(batch.run_command("movie", movie.movie_command, args))
    """
    words = [
        cache,
        "-o",
        tmp_path / "film.mp4",
        "--frames",
        100000,
        "--fps",
        50,
        "--size",
        "320x240",
        "--no-texture",
        "--quiet",
    ]
    with subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not list(tmp_path.iterdir()):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=600)[1]
    assert (
        process.returncode == 128 + signal.SIGTERM
        and "SIGTERM" in said
        and list(tmp_path.iterdir()) == []
    )


def test_command_without_chrome(cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    with pytest.raises(MovieError):
        command(cache, "-o", tmp_path / "film.mp4", "--engine", "plotly")
    assert command("--check") == 1
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0].startswith("ok")
        and "FFmpeg" in lines[0]
        and any(line.startswith("MISSING Chrome") for line in lines)
    )
    assert not list(tmp_path.iterdir()) and os.environ["BROWSER_PATH"].endswith("none")


def test_estimate_grows_with_the_work():
    few, many = plan_film(frames=10), plan_film(frames=100)
    for engine in movie.ENGINES:
        assert movie.estimate_seconds(few, engine) < movie.estimate_seconds(
            many, engine
        )
    assert movie.estimate_seconds(
        many, "plotly", plain_texture(height=480)
    ) > movie.estimate_seconds(many, "plotly")
    with pytest.raises(ValueError, match="sketch"):
        movie.estimate_seconds(few, "sketch")
