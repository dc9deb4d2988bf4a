"""The Moon behind the points: maria in their places, textures of few colours."""

import numpy as np
import pytest

from lunar_potential.view.globe.moon import (
    moon_texture,
    quantise,
    schematic_albedo,
    texture_size,
)


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
    assert texture_size(mode, scale) == size


def test_texture_size_refuses_nonsense():
    with pytest.raises(ValueError, match="gif"):
        texture_size("gif")
    with pytest.raises(ValueError, match="positive"):
        texture_size("still", 0)


@pytest.mark.parametrize("levels", [2, 37, 256])
def test_palette_is_small_and_ordered_by_luminance(levels):
    picture = np.random.default_rng(0).random((30, 60, 3))
    for texture in (
        quantise(picture, levels),
        quantise(0.4 + 0.01 * picture, levels),
        moon_texture(40, 80, levels=levels),
    ):
        light = texture.palette @ [0.2126, 0.7152, 0.0722]
        assert texture.palette.dtype == texture.index.dtype == np.uint8
        assert (
            len(light) <= 256
            and (np.diff(light) >= 0).all()
            and texture.index.max() < len(light)
        )
    with pytest.raises(ValueError, match="256"):
        quantise(picture, 257)


def test_schematic_moon_has_its_maria_where_they_are():
    moon = moon_texture(240, 480)
    maria = moon.at([33, 28, 9, 17, -24, -20, -20], [-16, 18, 31, 59, -39, -15, -94])[
        :, 0
    ].astype(int)
    highlands = moon.at([-30, -50, 0, 60, -10], [15, 30, -150, -120, 160])[:, 0].astype(
        int
    )
    assert maria.max() + 20 < highlands.min()
    assert moon.at(-44.3, -11.2)[0] > moon.at(-60, 60)[0]  # beside Tycho
    again = quantise(schematic_albedo.__wrapped__(240, 480, 0))
    assert (again.index == moon.index).all() and (
        moon_texture(240, 480, seed=1).index != moon.index
    ).any()


def test_texture_has_no_seam():
    albedo = schematic_albedo(240, 480)
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
    texture = moon_texture(40, 80, image=tmp_path / "mine.png")
    assert (
        np.abs(
            texture.at([45, 45], [-90, 135]).astype(int)
            - [[200, 120, 40], [10, 200, 250]]
        ).max()
        <= 2
    )
    turned = moon_texture(40, 80, image=tmp_path / "mine.png", left_longitude=0)
    assert (
        np.abs(turned.at(45, -45).astype(int) - [10, 200, 250]).max() <= 2
    )  # its last quarter is now 90-0° W
    assert moon_texture(
        40, 80, image=tmp_path / "mine.png", texture_scale=0.5
    ).index.shape == (20, 40)
    Image.fromarray(np.linspace(0, 60000, 3200).astype(np.uint16).reshape(40, 80)).save(
        tmp_path / "deep.tif"
    )
    assert np.ptp(moon_texture(40, 80, image=tmp_path / "deep.tif").rgb()) > 240
    Image.fromarray(picture[:, :50]).save(tmp_path / "square.png")
    with pytest.raises(ValueError, match="twice as wide"):
        moon_texture(image=tmp_path / "square.png")
    with pytest.raises(FileNotFoundError):
        moon_texture(image=tmp_path / "none.png")
