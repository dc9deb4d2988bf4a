"""Pictures of the Moon: what is drawn is where it belongs, and nothing else is drawn."""

from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest

from lunar_potential.units import Flag
from lunar_potential.view import globe

matplotlib.use("Agg")


def sweeps(count=600, seed=3):
    "Invented results: places all over the Moon, a third of them without footpoint."
    rng = np.random.default_rng(seed)
    longitude = rng.uniform(-180, 180, count)
    sun = np.full(count, 25.0)
    latitude = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    lit = np.cos(np.radians(latitude)) * np.cos(np.radians(longitude - sun)) > 0
    u = np.where(lit, 5.0, -120.0) * rng.lognormal(0, 0.4, count)
    u[::3] = np.nan
    return {
        "time_start": 891388800 + 80.0 * np.arange(count),
        "spec_no": np.arange(count) + 1,
        "u_surface": u,
        "u_surface_lower_95": u - 20,
        "u_surface_upper_95": u + 10,
        "u_spacecraft": np.full(count, 8.0),
        "projection_latitude": latitude,
        "projection_longitude": longitude,
        "projection_in_sun": np.where(np.isnan(u), -1, lit),
        "flags": np.zeros(count, int),
        "subsolar_latitude": np.zeros(count),
        "subsolar_longitude": sun,
    }


@pytest.fixture
def figures():
    "Closes what a test has drawn."
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


@pytest.fixture(scope="module")
def moon():
    return globe.moon_texture(60, 120)


# -- the table -------------------------------------------------------------------------------------------------------------------


def test_missing_and_unequal_arrays_are_named():
    spec = sweeps()
    with pytest.raises(ValueError, match="projection_longitude"):
        globe.sweep_table(
            {k: v for k, v in spec.items() if k != "projection_longitude"}
        )
    with pytest.raises(ValueError, match="length"):
        globe.sweep_table({**spec, "u_surface": spec["u_surface"][:-1]})


def test_results_npz_and_mapping_give_the_same_table(tmp_path):
    spec = sweeps()
    np.savez(tmp_path / "cache.npz", **{f"spec_{k}": v for k, v in spec.items()})
    holder = type("Results", (), {"spec": spec})()
    with np.load(tmp_path / "cache.npz", allow_pickle=False) as cache:
        assert globe.sweep_table(cache).equals(globe.sweep_table(spec))
    assert globe.sweep_table(holder).equals(globe.sweep_table(spec))


def test_times_in_any_form_and_dates_inclusive():
    spec = sweeps(2160)
    iso = np.datetime_as_string(spec["time_start"].astype("datetime64[s]"))
    for time in (spec["time_start"], iso, iso.astype("datetime64[us]")):
        table = globe.sweep_table(
            {**spec, "time_start": time}, start="1998-04-02", end="1998-04-02"
        )
        assert table["spec_no"].tolist() == list(range(1081, 2161))
    assert len(globe.sweep_table(spec, end="1998-04")) == 2160
    assert len(globe.sweep_table(spec, start="1998-04-02T12:00")) == 540


def test_untrusted_potentials_are_left_out_unless_asked_for():
    spec = sweeps(9)
    spec["u_surface"] = np.arange(9.0)
    spec["flags"] = np.array(
        [
            0,
            Flag.AT_BOUND,
            Flag.SHORT_SWEEP,
            Flag.NOT_IDENTIFIED,
            0,
            Flag.RELATIVE_TO_SPACECRAFT,
            0,
            0,
            0,
        ]
    ).astype(np.uint32)
    assert globe.footpoints(spec)["u_surface"].tolist() == [0, 2, 4, 6, 7, 8]
    assert len(globe.footpoints(spec, exclude=0)) == 9


def test_only_finite_points_are_kept_and_counted():
    spec = sweeps()
    spec["projection_latitude"][1] = np.nan
    points = globe.footpoints(spec, max_points=None)
    assert np.isfinite(points[["latitude", "longitude", "u_surface"]].to_numpy()).all()
    assert points.attrs == {"sweeps": 600, "found": 399} and len(points) == 399
    assert globe.footpoints(points) is points


def test_downsampling_is_deterministic_and_even():
    first, again, other = (
        globe.downsample(32400, 500),
        globe.downsample(32400, 500),
        globe.downsample(32400, 500, seed=1),
    )
    assert (first == again).all() and (first != other).any()
    assert len(first) == 500 and (np.diff(first) > 0).all()
    assert (
        np.searchsorted(np.arange(501) * 32400 // 500, first, "right")
        == np.arange(1, 501)
    ).all()
    assert (
        globe.downsample(10, 20).tolist()
        == list(range(10))
        == globe.downsample(10, None).tolist()
    )
    orbit = np.sin(2 * np.pi * globe.downsample(88500, 1000) / 88.5)
    assert abs(orbit.mean()) < 0.1 and orbit.std() > 0.6


# -- colours ---------------------------------------------------------------------------------------------------------------------


def test_limits_are_symmetric_round_and_robust():
    volts = np.append(np.full(999, -90.0), -40000.0)
    scale = globe.potential_scale(volts)
    assert scale.limit == 100 and scale.norm().vmin == -scale.norm().vmax == -100
    assert scale(0) == 0 and scale(-1e6) == -1 and scale(1e6) == 1
    assert np.allclose(scale(-np.array([1, 10, 50])), -scale([1, 10, 50]))
    assert (
        globe.potential_scale([np.nan]).limit == 100
        and globe.potential_scale(volts, limit=300).limit == 300
    )
    for limit in (20, 100, 200, 500, 1000, 2000):
        ticks = globe.PotentialScale(limit).ticks()
        assert (
            ticks[0] == -limit
            and ticks[-1] == limit
            and 0 in ticks
            and np.diff(globe.PotentialScale(limit)(ticks)).min() > 0.1
        )


def test_narrow_sets_weigh_more():
    import pandas as pd

    scale = globe.PotentialScale(500)
    points = pd.DataFrame(
        {"lower": [-101, -200, -500, np.nan], "upper": [-99, -50, 500, -10]}
    )
    weight = globe.confidence_weight(points, scale)
    assert weight[0] > weight[1] > weight[2] == weight[3] == pytest.approx(0.2)
    assert (
        globe.confidence_weight(points.assign(lower=np.nan, upper=np.nan), scale) == 1
    ).all()


# -- textures --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode, scale, size",
    [
        ("still", None, (480, 960)),
        ("animation", None, (240, 480)),
        ("film", None, (240, 480)),
        ("still", 0.5, (240, 480)),
        ("animation", 1.0, (480, 960)),
        ("film", 2, (960, 1920)),
    ],
)
def test_texture_size_of_each_mode(mode, scale, size):
    assert globe.texture_size(mode, scale) == size


def test_texture_size_refuses_nonsense():
    with pytest.raises(ValueError, match="gif"):
        globe.texture_size("gif")
    with pytest.raises(ValueError, match="positive"):
        globe.texture_size("still", 0)


@pytest.mark.parametrize("levels", [2, 37, 256])
def test_palette_is_small_and_ordered_by_luminance(levels):
    picture = np.random.default_rng(0).random((30, 60, 3))
    for texture in (
        globe.quantise(picture, levels),
        globe.quantise(0.4 + 0.01 * picture, levels),
        globe.moon_texture(40, 80, levels=levels),
    ):
        light = texture.palette @ [0.2126, 0.7152, 0.0722]
        assert texture.palette.dtype == texture.index.dtype == np.uint8
        assert (
            len(light) <= 256
            and (np.diff(light) >= 0).all()
            and texture.index.max() < len(light)
        )
    with pytest.raises(ValueError, match="256"):
        globe.quantise(picture, 257)


def test_schematic_moon_has_its_maria_where_they_are():
    moon = globe.moon_texture(240, 480)
    maria = moon.at([33, 28, 9, 17, -24, -20, -20], [-16, 18, 31, 59, -39, -15, -94])[
        :, 0
    ].astype(int)
    highlands = moon.at([-30, -50, 0, 60, -10], [15, 30, -150, -120, 160])[:, 0].astype(
        int
    )
    assert maria.max() + 20 < highlands.min()
    assert moon.at(-44.3, -11.2)[0] > moon.at(-60, 60)[0]  # beside Tycho
    again = globe.quantise(globe.schematic_albedo.__wrapped__(240, 480, 0))
    assert (again.index == moon.index).all() and (
        globe.moon_texture(240, 480, seed=1).index != moon.index
    ).any()


def test_texture_has_no_seam():
    albedo = globe.schematic_albedo(240, 480)
    step = np.abs(np.diff(albedo, axis=1))
    assert np.abs(albedo[:, 0] - albedo[:, -1]).mean() < 1.5 * step.mean()


def test_pictures_of_ones_own(tmp_path):
    from PIL import Image

    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:20], picture[:, 60:] = (
        (200, 120, 40),
        (10, 200, 250),
    )  # west is brown in the north, 90-180° E is blue
    Image.fromarray(picture).save(tmp_path / "mine.png")
    texture = globe.moon_texture(40, 80, image=tmp_path / "mine.png")
    assert (
        np.abs(
            texture.at([45, 45], [-90, 135]).astype(int)
            - [[200, 120, 40], [10, 200, 250]]
        ).max()
        <= 2
    )
    turned = globe.moon_texture(40, 80, image=tmp_path / "mine.png", left_longitude=0)
    assert (
        np.abs(turned.at(45, -45).astype(int) - [10, 200, 250]).max() <= 2
    )  # its last quarter is now 90-0° W
    assert globe.moon_texture(
        40, 80, image=tmp_path / "mine.png", texture_scale=0.5
    ).index.shape == (20, 40)
    Image.fromarray(np.linspace(0, 60000, 3200).astype(np.uint16).reshape(40, 80)).save(
        tmp_path / "deep.tif"
    )
    assert np.ptp(globe.moon_texture(40, 80, image=tmp_path / "deep.tif").rgb()) > 240
    Image.fromarray(picture[:, :50]).save(tmp_path / "square.png")
    with pytest.raises(ValueError, match="twice as wide"):
        globe.moon_texture(image=tmp_path / "square.png")
    with pytest.raises(FileNotFoundError):
        globe.moon_texture(image=tmp_path / "none.png")


# -- positions -------------------------------------------------------------------------------------------------------------------


def test_closed_form_positions():
    half = np.sqrt(0.5)
    assert np.allclose(
        globe.unit_vectors([0, 0, 45, -90], [0, -90, 180, 77]),
        [[1, 0, 0], [0, -1, 0], [-half, 0, half], [0, 0, -1]],
    )
    x, y, seen = globe.project([0, 30, 0, 0], [90, 0, 180, 30], radius=1.01)
    assert (
        np.allclose(x, [1.01, 0, 0, 0.505])
        and np.allclose(y, [0, 0.505, 0, 0])
        and seen.tolist() == [True, True, False, True]
    )
    x, y, _ = globe.project([90, 0, 0], [0, 180, -90], "mollweide")
    assert np.allclose(np.abs(x), [0, 2, 1], atol=1e-6) and np.allclose(y, [1, 0, 0])
    x, y, _ = globe.project(10, -170, "equirectangular", lon0=180)
    assert (x, y) == (10, 10)
    with pytest.raises(ValueError, match="mercator"):
        globe.project(0, 0, "mercator")


@pytest.mark.parametrize("projection", ["orthographic", "mollweide", "equirectangular"])
def test_projections_have_inverses(projection):
    points = globe.footpoints(sweeps())
    x, y, seen = globe.project(
        points["latitude"], points["longitude"], projection, 35, -120
    )
    back = globe.unproject(x[seen], y[seen], projection, 35, -120)
    there = globe.unit_vectors(points["latitude"], points["longitude"])[seen]
    assert np.allclose(globe.unit_vectors(*back), there, atol=1e-6)


def test_moon_image_shows_the_texture_where_it_belongs():
    texture = globe.Texture(
        np.arange(8, dtype=np.uint8).reshape(2, 4),
        np.repeat(np.arange(8, dtype=np.uint8)[:, None], 3, 1),
    )
    image = globe.moon_image(texture, "orthographic", 0, 90, height=40)
    assert (
        image.shape == (40, 40, 4) and image[0, 0, 3] == 0 and image[20, 20, 3] == 255
    )
    assert image[10, 15, 0] == 2 and image[10, 25, 0] == 3 and image[30, 25, 0] == 7
    assert globe.moon_image(texture, "mollweide", height=40).shape == (40, 80, 4)


def test_terminator_local_time_and_zenith_angle():
    assert np.allclose(
        globe.great_circle_angle(*globe.terminator((-1.5, 130.0)), -1.5, 130.0), 90
    )
    assert np.allclose(
        globe.great_circle_angle([0, 60, 0], [10, 10, -170], 0, 10),
        [0, 60, 180],
        atol=1e-5,
    )
    assert np.allclose(globe.local_time([10, 100, -170, -80], 10), [12, 18, 0, 6])


def test_subsolar_point_of_an_instant():
    spec = {
        **sweeps(101),
        "subsolar_longitude": np.r_[
            np.linspace(-179, -180, 51), np.linspace(179.98, 179, 50)
        ],
        "subsolar_latitude": np.linspace(1, 2, 101),
    }
    when = np.datetime64("1998-04-01") + np.timedelta64(75 * 80, "s")
    assert np.allclose(globe.subsolar_at(spec, when), (1.75, 179.5), atol=0.01)
    assert globe.subsolar_at(spec, "1998-04-01T12") == pytest.approx((2, 179))
    for results, time in (
        (spec, "1998-04-09"),
        ({k: v for k, v in spec.items() if "subsolar" not in k}, when),
    ):
        with pytest.raises(ValueError, match="where the Sun stood"):
            globe.subsolar_at(results, time)


# -- Matplotlib ------------------------------------------------------------------------------------------------------------------


def test_map_draws_each_point_at_its_place_and_colour(figures, moon):
    ax = globe.plot_map(sweeps(), texture=moon)
    points = globe.footpoints(sweeps())
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
    ax = globe.plot_map(
        sweeps(),
        ax=own,
        lon0=180,
        limit=250,
        subsolar=(0, 25),
        texture=moon,
        weight="confidence",
    )
    points, dots = globe.footpoints(sweeps()), own.collections[0]
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
        globe.plot_map(sweeps(), texture=moon, weight="opacity")


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
    figure = globe.plot_sphere(sweeps(), view=view, texture=moon, subsolar=(2, 25))
    points = globe.footpoints(sweeps())
    xyz = 1.01 * globe.unit_vectors(points["latitude"], points["longitude"])
    for ax, centre in zip(figure.axes, centres):
        across = xyz @ globe.view_axes(*centre).T
        front = across[:, 2] >= 0
        assert 0 < front.sum() < len(points)
        assert np.allclose(ax.collections[0].get_offsets(), across[front, :2])
        assert np.allclose(ax.collections[0].get_array(), points["u_surface"][front])


def test_views_that_cannot_be_drawn():
    with pytest.raises(ValueError, match="subsolar"):
        globe.plot_sphere(sweeps(), view="day/night")
    with pytest.raises(ValueError, match="side"):
        globe.plot_sphere(sweeps(), view="sideways")


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
        globe.plot_map(sweeps(), texture=moon).figure,
        globe.plot_sphere(sweeps(), texture=moon),
        globe.plot_sphere(sweeps(), view="near", texture=moon),
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


def test_local_time_map_bins_by_sun(figures):
    ax = globe.local_time_map(
        {**sweeps(), "u_surface": np.full(600, -7.0)}, hours=6, degrees=90, least=1
    )
    assert (ax.collections[0].get_array() == -7).all()
    spec = sweeps(40)
    spec.update(
        projection_latitude=np.full(40, 10.0),
        projection_longitude=np.full(40, 25.0 + 45.0),
        u_surface=np.arange(40.0),
    )
    seen = (
        globe.local_time_map(spec, hours=6, degrees=90)
        .collections[0]
        .get_array()
        .filled(np.nan)
        .reshape(2, 4)
    )
    assert seen[1, 2] == 19.5 and np.isnan(seen).sum() == 7  # 15 h, north
    with pytest.raises(ValueError, match="subsolar_latitude"):
        globe.local_time_map({k: v for k, v in sweeps().items() if "subsolar" not in k})


def test_zenith_angle_curve_reads_back(figures):
    spec = sweeps(3000)
    ax = globe.potential_vs_sza(spec)
    angle, median = ax.lines[1].get_data()
    points = globe.footpoints(spec, max_points=None)
    truth = globe.great_circle_angle(points["latitude"], points["longitude"], 0, 25)
    inside = (truth >= angle[4] - 3.75) & (truth < angle[4] + 3.75)
    assert median[4] == pytest.approx(np.median(points["u_surface"][inside]))
    assert np.nanmin(median[angle < 90]) > 0 > np.nanmax(median[angle > 90])


def test_time_series_breaks_at_gaps(figures):
    spec = {k: np.delete(v, range(100, 130)) for k, v in sweeps(300).items()}
    craft, surface = globe.plot_timeseries(spec)
    y = craft.lines[0].get_ydata()
    assert len(y) == 271 and np.isnan(y).sum() == 1 and np.isnan(y[100])
    assert (
        np.isfinite(surface.lines[0].get_ydata()).sum()
        == np.isfinite(spec["u_surface"]).sum()
    )


def test_nothing_to_draw_is_no_error(figures, moon):
    empty = {k: v[:0] for k, v in sweeps().items()}
    for plot in (globe.plot_map, globe.plot_sphere, globe.plotly_globe):
        plot(empty, texture=moon)
    for plot in (globe.local_time_map, globe.potential_vs_sza, globe.plot_timeseries):
        plot(empty)


def test_files_are_whole_or_as_before(tmp_path, figures):
    path = tmp_path / "new" / "map.png"
    figure = figures.figure()
    assert globe.save_figure(figure, path) == path and path.stat().st_size > 0
    before = path.read_bytes()
    figure.savefig = lambda *a, **k: (_ for _ in ()).throw(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        globe.save_figure(figure, path)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == [
        "map.png"
    ]


# -- Plotly ----------------------------------------------------------------------------------------------------------------------


def clouds(figure):
    return [trace for trace in figure.data if trace.customdata is not None]


def test_markers_hover_one_per_cent_above_their_places(moon):
    spec = sweeps()
    points = globe.footpoints(spec).set_index("spec_no")
    figure = globe.plotly_globe(spec, texture=moon)
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
            globe.potential_scale(points["u_surface"])(place["u_surface"]),
            atol=1e-6,
        )
    assert sum(len(trace.x) for trace in clouds(figure)) == 400
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax == -1


def test_surface_is_opaque_closed_and_of_few_bytes(moon):
    surface = globe.plotly_globe(sweeps(), texture=moon).data[0]
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
    for mode, shape in (
        ("still", (480, 961)),
        ("animation", (240, 481)),
        ("film", (240, 481)),
    ):
        assert (
            globe.plotly_globe({k: v[:9] for k, v in sweeps().items()}, mode=mode)
            .data[0]
            .surfacecolor.shape
            == shape
        )


def test_hover_says_what_is_known(moon):
    spec = {k: v[1:7] for k, v in sweeps().items()}
    spec["u_surface"] = np.array([-123.4, 5.0, -60.0, -60.0, -60.0, -60.0])
    spec["u_surface_lower_95"] = np.array([-160.0, 1.0, -np.inf, np.nan, -90.0, -61.0])
    spec["u_surface_upper_95"] = np.array([-90.0, 9.0, -40.0, np.nan, np.inf, -59.0])
    spec["u_spacecraft"] = np.array([-41.5, np.nan, 0, 0, 0, 0])
    spec["regime"] = np.array(["wake"] + ["solar wind"] * 5)
    texts = globe.hover_text(globe.footpoints(spec))
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
        and "above −90 V" in texts[4]
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
    page = globe.globe_html(sweeps(), tmp_path / "out" / "globe.html", subsolar=(0, 25))
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

    figure = globe.plotly_globe(sweeps(), texture=moon)
    text = globe.globe_page(figure, title="a <b> c").split("<body>")
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
