"""Maps and hemispheres: what is drawn is where it belongs, and nothing else."""

import matplotlib
import numpy as np
import pytest
from invented import sweeps

from lunar_potential.view.globe.footpoints import footpoints
from lunar_potential.view.globe.maps import (
    moon_image,
    plot_map,
    plot_sphere,
    save_figure,
)
from lunar_potential.view.globe.moon import Texture
from lunar_potential.view.globe.projection import unit_vectors, view_axes


def test_moon_image_shows_the_texture_where_it_belongs():
    texture = Texture(
        np.arange(8, dtype=np.uint8).reshape(2, 4),
        np.repeat(np.arange(8, dtype=np.uint8)[:, None], 3, 1),
    )
    image = moon_image(texture, "orthographic", 0, 90, height=40)
    assert (
        image.shape == (40, 40, 4) and image[0, 0, 3] == 0 and image[20, 20, 3] == 255
    )
    assert image[10, 15, 0] == 2 and image[10, 25, 0] == 3 and image[30, 25, 0] == 7
    assert moon_image(texture, "mollweide", height=40).shape == (40, 80, 4)


def test_map_draws_each_point_at_its_place_and_colour(figures, moon):
    ax = plot_map(sweeps(), texture=moon)
    points = footpoints(sweeps())
    dots = ax.collections[0]
    assert np.allclose(
        dots.get_offsets(), points[["longitude", "latitude"]]
    ) and np.allclose(dots.get_array(), points["u_surface"])
    assert dots.norm.vmin == -dots.norm.vmax
    edges = matplotlib.colors.to_rgba_array(["black", "white"])[points["in_sun"]]
    assert np.allclose(dots.get_edgecolors(), edges)
    assert "1998-04-01" in ax.get_title() and any(
        "400 of 400" in t.get_text() for t in ax.texts
    )
    assert ax.child_axes[0].get_ylabel().endswith("(V)")


def test_map_with_a_turned_chart_night_and_given_axes(figures, moon):
    own = figures.subplots()[1]
    ax = plot_map(
        sweeps(),
        ax=own,
        lon0=180,
        limit=250,
        subsolar=(0, 25),
        texture=moon,
        weight="confidence",
    )
    points, dots = footpoints(sweeps()), own.collections[0]
    assert (
        ax is own
        and np.allclose(dots.get_offsets()[:, 0], points["longitude"] % 360 - 180)
        and dots.norm.vmax == 250
    )
    assert len(set(dots.get_sizes())) > 10
    assert {"terminator", "sub-solar point"} <= {
        t.get_text() for t in ax.get_legend().get_texts()
    }
    with pytest.raises(ValueError, match="opacity"):
        plot_map(sweeps(), texture=moon, weight="opacity")


@pytest.mark.parametrize(
    "view, centres",
    [
        ("near/far", [(0, 0), (0, 180)]),
        ("day/night", [(2, 25), (-2, 205)]),
        ("far", [(0, 180)]),
        ((40, -70), [(40, -70)]),
    ],
)
def test_far_side_is_not_drawn(figures, moon, view, centres):
    figure = plot_sphere(sweeps(), view=view, texture=moon, subsolar=(2, 25))
    points = footpoints(sweeps())
    xyz = 1.01 * unit_vectors(points["latitude"], points["longitude"])
    for ax, centre in zip(figure.axes, centres):
        across = xyz @ view_axes(*centre).T
        front = across[:, 2] >= 0
        assert 0 < front.sum() < len(points)
        assert np.allclose(ax.collections[0].get_offsets(), across[front, :2])
        assert np.allclose(ax.collections[0].get_array(), points["u_surface"][front])


def test_views_that_cannot_be_drawn():
    with pytest.raises(ValueError, match="subsolar"):
        plot_sphere(sweeps(), view="day/night")
    with pytest.raises(ValueError, match="side"):
        plot_sphere(sweeps(), view="sideways")


def shown_texts(figure):
    "The texts that are drawn: those of an axis that is switched off are not."
    hidden = [
        axis for ax in figure.axes if not ax.axison for axis in (ax.xaxis, ax.yaxis)
    ]
    unseen = {
        id(text) for axis in hidden for text in axis.findobj(matplotlib.text.Text)
    }
    return [
        t
        for t in figure.findobj(matplotlib.text.Text)
        if t.get_visible() and t.get_text().strip() and id(t) not in unseen
    ]


def test_text_does_not_overlap(figures, moon):
    for figure in (
        plot_map(sweeps(), texture=moon).figure,
        plot_sphere(sweeps(), texture=moon),
        plot_sphere(sweeps(), view="near", texture=moon),
    ):
        figure.canvas.draw()
        texts = shown_texts(figure)
        boxes = [t.get_window_extent() for t in texts]
        clashes = [
            (a.get_text(), b.get_text())
            for i, a in enumerate(texts)
            for j, b in enumerate(texts[:i])
            if boxes[i].overlaps(boxes[j])
        ]
        assert not clashes
        assert all(
            box.x0 >= 0
            and box.x1 <= figure.bbox.x1
            and box.y0 >= 0
            and box.y1 <= figure.bbox.y1
            for box in boxes
        )


def test_nothing_to_draw_is_no_error(figures, moon):
    empty = {k: v[:0] for k, v in sweeps().items()}
    for plot in (plot_map, plot_sphere):
        plot(empty, texture=moon)


def test_files_are_whole_or_as_before(tmp_path, figures):
    path = tmp_path / "new" / "map.png"
    figure = figures.figure()
    assert save_figure(figure, path) == path and path.stat().st_size > 0
    before = path.read_bytes()
    figure.savefig = lambda *a, **k: (_ for _ in ()).throw(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, path)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == [
        "map.png"
    ]


def test_lower_limits_have_markers_of_their_own(moon, figures):
    spec = sweeps()
    limit = (np.arange(600) % 2 == 0) & np.isfinite(spec["u_surface"])
    spec["u_surface_upper_95"] = np.where(limit, np.inf, spec["u_surface_upper_95"])
    ax = plot_map(spec, texture=moon)
    points = footpoints(spec)
    paths = ax.collections[0].get_paths()
    assert len(paths) == len(points)
    triangle = [len(path.vertices) < 10 for path in paths]
    np.testing.assert_array_equal(triangle, np.isposinf(points["upper"]))
    texts = " ".join(text.get_text() for text in ax.texts)
    assert f"{limit.sum()} of them lower limits" in texts
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "lower limit" in labels
    plain = plot_map(sweeps(), texture=moon)
    assert "lower limit" not in [t.get_text() for t in plain.get_legend().get_texts()]
