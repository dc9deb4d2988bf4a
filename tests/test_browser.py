"""The explorers where they are used: a tutorial in JupyterLab in a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from lunar_potential.view.movie.prerequisites import find_chrome

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright drives the browser: pip install '.[dev]'"
)
expect = playwright.expect
notebooks = Path(__file__).parent.parent / "nbs/tutorials"
WAIT = 600_000  # ms; only what hangs takes so long
HARMLESS = ("favicon", "ERR_ABORTED", "WebGL", "GPU stall")

if find_chrome() is None:
    pytest.skip(
        "there is no Chrome or Chromium to open JupyterLab in", allow_module_level=True
    )


@pytest.fixture(scope="module")
def browser():
    "The browser that Kaleido would use."
    with playwright.sync_playwright() as play:
        shown = play.chromium.launch(
            executable_path=str(find_chrome()), args=["--no-sandbox"]
        )
        yield shown
        shown.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "JupyterLab on loopback, with copies of the tutorials; its address."
    root = tmp_path_factory.mktemp("lab")
    for notebook in notebooks.glob("*.ipynb"):
        shutil.copy(notebook, root)
    settings = root / ".settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "JUPYTERLAB_SETTINGS_DIR": root / ".settings",
        "JUPYTERLAB_WORKSPACES_DIR": root / ".workspaces",
        "JUPYTER_CONFIG_DIR": root / ".config",
        "JUPYTER_RUNTIME_DIR": root / ".runtime",
    }
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--ServerApp.password=",
        f"--ServerApp.root_dir={root}",
        "--expose-app-in-browser",
        "--LabApp.news_url=",
    ]
    with open(root / "server.log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env={**os.environ, **{k: str(v) for k, v in own.items()}},
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/lab", server, root / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(300)


def _wait_for(address, server, log):
    "Returns when the server answers; fails with its log when it does not."
    until = time.monotonic() + 600
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=60).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def tutorial(lab, browser):
    "The tutorial of one sweep, run from top to end; the page, and errors it reported."
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    said = []
    page.on(
        "console",
        lambda message: said.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{lab}/lab/tree/one_sweep.ipynb?reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=WAIT)
    page.wait_for_function(
        "() => window.jupyterapp?.shell?.currentWidget?.sessionContext"
        "?.session?.kernel?.status === 'idle'",
        timeout=WAIT,
    )
    page.set_default_timeout(WAIT)
    assert page.evaluate(
        "async () => await window.jupyterapp.commands.execute('notebook:run-all-cells')"
    ), _errors(page)
    yield page, said
    page.close()


def _errors(page):
    "What the cells that failed printed."
    return page.locator(
        ".jp-OutputArea-output[data-mime-type*='stderr'], "
        ".jp-OutputArea-output[data-mime-type*='error']"
    ).all_inner_texts()


# The traces before it depend on which sets a sweep has: it is found by its name.
DISPLAYED = "e._fullData.find(t => t.name === 'displayed model').x[0]"


def _displayed(plot):
    "Potential of the displayed model (V) as the browser has it."
    return plot.evaluate(f"e => {DISPLAYED}")


def _points(plot):
    "Points of the map as the browser has them."
    return plot.evaluate("e => Array.from(e._fullData[0].x)")


def _plots(page):
    "Figures of the explorers; the still ones before them are pictures."
    return page.locator(".jupyter-widgets .js-plotly-plot")


def test_slider_moves_the_model_and_not_the_data(tutorial):
    page, _ = tutorial
    plot = _plots(page).first
    expect(plot).to_be_visible(timeout=WAIT)
    data, at, edge = (
        plot.evaluate("e => JSON.stringify(e._fullData[0].z)"),
        _displayed(plot),
        plot.locator(".scatterlayer path.js-line").first.get_attribute("d"),
    )
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    expect(plot.locator(".scatterlayer path.js-line").first).not_to_have_attribute(
        "d", edge, timeout=WAIT
    )
    page.wait_for_function(
        f"([e, at]) => Math.abs({DISPLAYED} - at) > 3.9",
        arg=[plot.element_handle(), at],
        timeout=WAIT,
    )
    assert abs(_displayed(plot) - (at + 4.0)) < 0.3  # eight steps of half a volt
    assert plot.evaluate("e => JSON.stringify(e._fullData[0].z)") == data
    page.get_by_role("button", name="back to the fit").first.click()
    page.wait_for_function(
        f"([e, at]) => Math.abs({DISPLAYED} - at) < 0.01",
        arg=[plot.element_handle(), at],
        timeout=WAIT,
    )


def test_next_shows_another_sweep(tutorial):
    page, _ = tutorial
    title = _plots(page).first.locator(".gtitle")
    before = title.text_content()
    page.get_by_role("button", name="next").first.click()
    expect(title).not_to_have_text(before, timeout=WAIT)


def test_click_on_a_point_opens_its_sweep(tutorial):
    page, _ = tutorial
    moon = _plots(page).nth(1)
    moon.scroll_into_view_if_needed()
    number = _plots(page).count()
    point = moon.evaluate("""e => {
        const trace = e._fullData[0], {xaxis, yaxis} = e._fullLayout;
        const places = Array.from(trace.x, (x, k) => [
            xaxis._offset + xaxis.d2p(x), yaxis._offset + yaxis.d2p(trace.y[k])]);
        const apart = (p, q) => Math.hypot(p[0] - q[0], p[1] - q[1]);
        const far = k => Math.min(
            ...places.map((p, j) => j === k ? 1e9 : apart(p, places[k])));
        const k = places.map((_, k) => far(k)).reduce(
            (best, d, k, all) => d > all[best] ? k : best, 0);
        return [...places[k], trace.customdata[k]]; }""")
    box = moon.bounding_box()
    page.mouse.click(box["x"] + point[0], box["y"] + point[1])
    expect(_plots(page)).to_have_count(number + 1, timeout=WAIT)
    expect(_plots(page).last.locator(".gtitle")).to_contain_text(
        f"sweep {int(point[2])} of", timeout=WAIT
    )


def test_filter_draws_other_points(tutorial):
    page, _ = tutorial
    moon = _plots(page).nth(1)
    before = len(_points(moon))
    regime = page.locator(
        ".widget-select-multiple select, .widget-select select[multiple]"
    ).last
    regime.select_option(["day"])
    page.wait_for_function(
        "([plot, n]) => plot._fullData[0].x.length < n",
        arg=[moon.element_handle(), before],
        timeout=WAIT,
    )
    assert 0 < len(_points(moon)) < before


def test_globe_shows_the_same_points(tutorial):
    page, _ = tutorial
    number = len(_points(_plots(page).nth(1)))
    page.get_by_role("tab", name="globe").click()
    globe = page.locator(".jupyter-widgets .js-plotly-plot:has(canvas)").first
    expect(globe).to_be_visible(timeout=WAIT)
    assert (
        globe.evaluate(
            "e => e._fullData.filter(t => t.type === 'scatter3d' && t.customdata)"
            ".reduce((n, t) => n + t.x.length, 0)"
        )
        == number
    )


def test_click_on_the_globe_opens_its_sweep(tutorial):
    page, _ = tutorial
    globe = page.locator(".jupyter-widgets .js-plotly-plot:has(canvas)").first
    globe.scroll_into_view_if_needed()
    point = globe.evaluate("""e => {
        const scene = e._fullLayout.scene._scene, scale = scene.dataScale;
        const {model, view, projection} = scene.glplot.cameraParams;
        const box = scene.container.getBoundingClientRect();
        const times = (m, v) => [0, 1, 2, 3].map(r =>
            m[r] * v[0] + m[r + 4] * v[1] + m[r + 8] * v[2] + m[r + 12] * v[3]);
        const place = (x, y, z) => {
            const scaled = [x * scale[0], y * scale[1], z * scale[2], 1];
            const [a, b, c, w] = times(projection, times(view, times(model, scaled)));
            return [box.x + (a / w + 1) / 2 * box.width,
                    box.y + (1 - b / w) / 2 * box.height, c / w]; };
        const seen = e._fullData
            .filter(t => t.type === 'scatter3d' && t.customdata)
            .flatMap(t => Array.from(t.x, (x, k) =>
                [...place(x, t.y[k], t.z[k]), t.customdata[k]]));
        return seen.reduce((best, one) => one[2] < best[2] ? one : best); }""")
    page.mouse.move(point[0] - 3, point[1])
    page.mouse.move(point[0], point[1])
    expect(globe.locator(".hovertext").first).to_be_visible(timeout=WAIT)
    page.mouse.click(
        point[0], point[1], delay=1000
    )  # a frame is drawn while the button is down
    expect(
        page.locator(
            ".jupyter-widgets .js-plotly-plot .gtitle",
            has_text=f"sweep {int(point[3])} of",
        )
    ).to_be_visible(timeout=WAIT)


def test_console_has_no_errors(tutorial):
    _, said = tutorial
    assert not [text for text in said if not any(word in text for word in HARMLESS)]
