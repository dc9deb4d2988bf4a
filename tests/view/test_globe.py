"""The globe: markers over their places, an opaque Moon, one file without a network."""

from html.parser import HTMLParser

import numpy as np
from invented import sweeps

from lunar_potential.view.globe.footpoints import footpoints, potential_scale
from lunar_potential.view.globe.interactive import (
    globe_html,
    globe_page,
    hover_text,
    plotly_globe,
)


def clouds(figure):
    return [trace for trace in figure.data if trace.customdata is not None]


def test_markers_hover_one_per_cent_above_their_places(moon):
    spec = sweeps()
    points = footpoints(spec).set_index("spec_no")
    figure = plotly_globe(spec, texture=moon)
    for trace in clouds(figure):
        xyz = np.stack([trace.x, trace.y, trace.z], -1)
        place = points.loc[np.asarray(trace.customdata)]
        assert np.allclose(np.linalg.norm(xyz, axis=1), 1.01) and np.isfinite(xyz).all()
        assert np.allclose(np.degrees(np.arcsin(xyz[:, 2] / 1.01)), place["latitude"])
        assert np.allclose(
            np.degrees(np.arctan2(xyz[:, 1], xyz[:, 0])), place["longitude"]
        )
        assert np.allclose(
            trace.marker.color,
            potential_scale(points["u_surface"])(place["u_surface"]),
            atol=1e-6,
        )
    assert sum(len(trace.x) for trace in clouds(figure)) == 400
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax == -1


def test_surface_is_opaque_closed_and_of_few_bytes(moon):
    surface = plotly_globe(sweeps(), texture=moon).data[0]
    assert (
        surface.type == "surface"
        and surface.opacity == 1
        and surface.surfacecolor.dtype == np.uint8
        and surface.x.dtype == np.float32
    )
    assert surface.surfacecolor.shape == surface.x.shape == (60, 121)
    xyz = np.stack([surface.x, surface.y, surface.z])
    assert np.allclose(np.linalg.norm(xyz, axis=0), 1, atol=1e-6) and np.allclose(
        xyz[:, :, 0], xyz[:, :, -1], atol=1e-6
    )
    assert (
        np.allclose(xyz[2, 0], 1)
        and np.allclose(xyz[2, -1], -1)
        and len(surface.colorscale) <= 256
    )
    row, column = 20, 30
    assert np.allclose(
        np.degrees(np.arcsin(xyz[2, row, column])), 90 - 20.5 * 3, atol=1e-3
    )
    assert np.allclose(
        np.degrees(np.arctan2(xyz[1, row, column], xyz[0, row, column])),
        -180 + 30.5 * 3,
        atol=1e-3,
    )


def test_default_texture_follows_the_mode():
    few = {k: v[:9] for k, v in sweeps().items()}
    for mode, shape in (
        ({}, (240, 481)),
        ({"mode": "still"}, (480, 961)),
        ({"mode": "animation"}, (240, 481)),
        ({"mode": "film"}, (240, 481)),
    ):
        assert plotly_globe(few, **mode).data[0].surfacecolor.shape == shape


def test_nothing_to_draw_is_no_error(moon):
    empty = {k: v[:0] for k, v in sweeps().items()}
    assert not clouds(plotly_globe(empty, texture=moon))


def test_hover_says_what_is_known(moon):
    spec = {k: v[1:7] for k, v in sweeps().items()}
    spec["u_surface"] = np.array([-123.4, 5.0, -60.0, -60.0, -60.0, -60.0])
    spec["u_surface_lower_95"] = np.array([-160.0, 1.0, -np.inf, np.nan, -90.0, -61.0])
    spec["u_surface_upper_95"] = np.array([-90.0, 9.0, -40.0, np.nan, np.inf, -59.0])
    spec["u_spacecraft"] = np.array([-41.5, np.nan, 0, 0, 0, 0])
    spec["regime"] = np.array(["wake"] + ["solar wind"] * 5)
    texts = hover_text(footpoints(spec))
    assert (
        "−123 V" in texts[0]
        and "95 %: −160 to −90 V" in texts[0]
        and "spacecraft −41.5 V" in texts[0]
        and "wake" in texts[0]
    )
    assert (
        "1998-04-01 00:01:20" in texts[0]
        and "sweep 2" in texts[0]
        and "potential unknown" in texts[1]
    )
    assert (
        "below −40 V" in texts[2]
        and "no 95 % set" in texts[3]
        and "<b>above −90 V</b> (95 %: above −90 V, a lower limit)" in texts[4]
    )


class Loads(HTMLParser):
    "Collects whatever a page would fetch."

    def __init__(self):
        super().__init__()
        self.found, self.policy = [], ""

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.found += [
            (tag, attributes[key])
            for key in ("src", "href", "data", "action")
            if attributes.get(key)
        ]
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]


def test_html_is_self_contained_and_moderate(tmp_path):
    page = globe_html(sweeps(), tmp_path / "out" / "globe.html", subsolar=(0, 25))
    text = page.read_text(encoding="utf-8")
    loads = Loads()
    loads.feed(text)
    assert (
        not loads.found
        and loads.policy.startswith("default-src 'none'")
        and "http" not in loads.policy
    )
    assert (
        page.stat().st_size < 8e6
        and "plotly.js v" in text
        and "MathJax.js" not in text.split("const figure")[1]
    )
    assert [p.name for p in page.parent.iterdir()] == ["globe.html"]


def test_html_carries_the_whole_figure(moon):
    import json

    figure = plotly_globe(sweeps(), texture=moon)
    text = globe_page(figure, title="a <b> c").split("<body>")
    assert "<title>a &lt;b&gt; c</title>" in text[0]
    data = json.loads(
        text[1]
        .split("const figure = ")[1]
        .split(";\nfor (const")[0]
        .replace("<\\/", "</")
    )["data"]
    assert [t.get("name") for t in data] == [t.name for t in figure.data]
    assert not {"x", "y", "z"} & set(data[0]) and [
        len(axis) for axis in data[0]["meta"]["sphere"]
    ] == [60, 121]
    assert all({"x", "y", "z"} <= set(t) for t in data[1:])
