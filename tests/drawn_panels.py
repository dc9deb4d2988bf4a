"""Spectrograms of one bright channel, and what of them can be read in pixels."""

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from lunar_potential.view.spectrogram.spectrogram import (
    Picture,
    SpectrogramImage,
    make_spectrogram,
)

T0 = 852076800.0  # 1997-01-01


ENERGY = np.geomspace(30000, 4, 96)  # descending, as instruments have it


BEAM = int(np.argmin(np.abs(ENERGY - 100)))


YELLOW = matplotlib.colormaps["viridis"](1.0)


def beam(times, energy=ENERGY, at=100.0):
    "One bright channel, the one whose energy is nearest `at`, over a flat background."
    values = np.ones((len(times), len(energy)))
    values[:, np.nanargmin(np.abs(energy - at))] = 1000
    return values


def panel(*args, size=(8, 5), **options):
    ax = Picture(figsize=size).add_axes([0.1, 0.15, 0.75, 0.75])
    return ax, make_spectrogram(ax, *args, **{"z_min": 1, "z_max": 1000, **options})


def rendered(ax):
    "RGB of the axes as drawn, row 0 at the bottom; times and heights of its pixels."
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    box = ax.bbox
    x, y = (
        np.arange(int(box.x0) + 2, int(box.x1) - 2),
        np.arange(int(box.y0) + 2, int(box.y1) - 2),
    )
    picture = np.asarray(canvas.buffer_rgba())[::-1][np.ix_(y, x)][..., :3].astype(int)
    back = ax.transData.inverted().transform
    return (
        picture,
        back(np.stack([x + 0.5, 0 * x + box.y0], 1))[:, 0] * 86400,
        back(np.stack([0 * y + box.x0, y + 0.5], 1))[:, 1],
    )


def near(picture, colour):
    return (
        np.abs(
            picture
            - 255
            * np.array(to_rgb(tuple(colour) if not isinstance(colour, str) else colour))
        ).max(-1)
        < 4
    )


def rows():
    times = T0 + 10.0 * np.arange(60)
    first = {"time": times, "energy": ENERGY, "values": beam(times), "title": "ees"}
    second = {
        "time": times + 300,
        "energy": ENERGY,
        "values": 50 * beam(times),
        "y_min": 10,
        "y_max": 2000,
        "z_min": 2,
        "z_max": 7e4,
        "y_scale": "linear",
        "y_label": "Ion energy (eV)",
        "z_label": "Differential Energy Flux",
        "colormap": "plasma",
        "title": "ies",
    }
    return [
        first,
        second,
        {**first, "vmin": 3, "vmax": 30, "z_scale": "linear", "title": "ieb"},
    ]


def images(figure):
    return [
        artist
        for ax in figure.axes
        for artist in ax.get_children()
        if isinstance(artist, SpectrogramImage)
    ]


def shown_texts(figure):
    "The texts that are drawn."
    return [
        t
        for t in figure.findobj(matplotlib.text.Text)
        if t.get_visible() and t.get_text().strip() and t.get_window_extent().width > 0
    ]


def assert_legible(figure):
    FigureCanvasAgg(figure).draw()
    inside = []
    for text in shown_texts(figure):
        axis = next(
            (
                a
                for ax in figure.axes
                for a in (ax.xaxis, ax.yaxis)
                if text in a.get_ticklabels(which="both")
            ),
            None,
        )
        low, high = sorted(axis.get_view_interval()) if axis is not None else (0, 0)
        at = text.get_position()[axis.axis_name == "y"] if axis is not None else 0
        if low <= at <= high:
            inside.append(text)
    boxes = [t.get_window_extent() for t in inside]
    clashes = [
        (a.get_text(), b.get_text())
        for i, a in enumerate(inside)
        for j, b in enumerate(inside[:i])
        if boxes[i].overlaps(boxes[j])
    ]
    assert not clashes
    outside = [
        t.get_text()
        for t, box in zip(inside, boxes)
        if box.x0 < 0
        or box.y0 < 0
        or box.x1 > figure.bbox.x1
        or box.y1 > figure.bbox.y1
    ]
    assert not outside
