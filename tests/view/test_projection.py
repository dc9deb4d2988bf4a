"""Places on the Moon and positions in a picture belong together."""

import numpy as np
import pytest
from invented import sweeps

from lunar_potential.physics.geometry import local_time
from lunar_potential.view.globe.footpoints import footpoints
from lunar_potential.view.globe.projection import (
    great_circle_angle,
    project,
    terminator,
    unit_vectors,
    unproject,
)


def test_closed_form_positions():
    half = np.sqrt(0.5)
    assert np.allclose(
        unit_vectors([0, 0, 45, -90], [0, -90, 180, 77]),
        [[1, 0, 0], [0, -1, 0], [-half, 0, half], [0, 0, -1]],
    )
    x, y, seen = project([0, 30, 0, 0], [90, 0, 180, 30], radius=1.01)
    assert (
        np.allclose(x, [1.01, 0, 0, 0.505])
        and np.allclose(y, [0, 0.505, 0, 0])
        and seen.tolist() == [True, True, False, True]
    )
    x, y, _ = project([90, 0, 0], [0, 180, -90], "mollweide")
    assert np.allclose(np.abs(x), [0, 2, 1], atol=1e-6) and np.allclose(y, [1, 0, 0])
    x, y, _ = project(10, -170, "equirectangular", lon0=180)
    assert (x, y) == (10, 10)
    with pytest.raises(ValueError, match="mercator"):
        project(0, 0, "mercator")


@pytest.mark.parametrize("projection", ["orthographic", "mollweide", "equirectangular"])
def test_projections_have_inverses(projection):
    points = footpoints(sweeps())
    x, y, seen = project(points["latitude"], points["longitude"], projection, 35, -120)
    back = unproject(x[seen], y[seen], projection, 35, -120)
    there = unit_vectors(points["latitude"], points["longitude"])[seen]
    assert np.allclose(unit_vectors(*back), there, atol=1e-6)


def test_terminator_local_time_and_zenith_angle():
    assert np.allclose(great_circle_angle(*terminator((-1.5, 130.0)), -1.5, 130.0), 90)
    assert np.allclose(
        great_circle_angle([0, 60, 0], [10, 10, -170], 0, 10),
        [0, 60, 180],
        atol=1e-5,
    )
    assert np.allclose(local_time([10, 100, -170, -80], 10), [12, 18, 0, 6])
