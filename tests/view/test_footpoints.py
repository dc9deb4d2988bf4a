"""The points of a picture: each sweep in its place, on a symmetric scale."""

import numpy as np
import pytest
from invented import sweeps

from lunar_potential.units import Flag
from lunar_potential.view.globe.footpoints import (
    PotentialScale,
    confidence_weight,
    downsample,
    footpoints,
    potential_scale,
    subsolar_at,
    sweep_table,
)


def test_missing_and_unequal_arrays_are_named():
    spec = sweeps()
    with pytest.raises(ValueError, match="projection_longitude"):
        sweep_table({k: v for k, v in spec.items() if k != "projection_longitude"})
    with pytest.raises(ValueError, match="length"):
        sweep_table({**spec, "u_surface": spec["u_surface"][:-1]})


def test_results_npz_and_mapping_give_the_same_table(tmp_path):
    spec = sweeps()
    np.savez(tmp_path / "cache.npz", **{f"spec_{k}": v for k, v in spec.items()})
    holder = type("Results", (), {"spec": spec})()
    with np.load(tmp_path / "cache.npz", allow_pickle=False) as cache:
        assert sweep_table(cache).equals(sweep_table(spec))
    assert sweep_table(holder).equals(sweep_table(spec))


def test_times_in_any_form_and_dates_inclusive():
    spec = sweeps(2160)
    iso = np.datetime_as_string(spec["time_start"].astype("datetime64[s]"))
    for time in (spec["time_start"], iso, iso.astype("datetime64[us]")):
        table = sweep_table(
            {**spec, "time_start": time}, start="1998-04-02", end="1998-04-02"
        )
        assert table["spec_no"].tolist() == list(range(1081, 2161))
    assert len(sweep_table(spec, end="1998-04")) == 2160
    assert len(sweep_table(spec, start="1998-04-02T12:00")) == 540


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
    assert footpoints(spec)["u_surface"].tolist() == [0, 2, 4, 6, 7, 8]
    assert len(footpoints(spec, exclude=0)) == 9


def test_only_finite_points_are_kept_and_counted():
    spec = sweeps()
    spec["projection_latitude"][1] = np.nan
    points = footpoints(spec, max_points=None)
    assert np.isfinite(points[["latitude", "longitude", "u_surface"]].to_numpy()).all()
    assert points.attrs == {"sweeps": 600, "found": 399} and len(points) == 399
    assert footpoints(points) is points


def test_downsampling_is_deterministic_and_even():
    first, again, other = (
        downsample(32400, 500),
        downsample(32400, 500),
        downsample(32400, 500, seed=1),
    )
    assert (first == again).all() and (first != other).any()
    assert len(first) == 500 and (np.diff(first) > 0).all()
    assert (
        np.searchsorted(np.arange(501) * 32400 // 500, first, "right")
        == np.arange(1, 501)
    ).all()
    assert (
        downsample(10, 20).tolist() == list(range(10)) == downsample(10, None).tolist()
    )
    orbit = np.sin(2 * np.pi * downsample(88500, 1000) / 88.5)
    assert abs(orbit.mean()) < 0.1 and orbit.std() > 0.6


def test_subsolar_point_of_an_instant():
    spec = {
        **sweeps(101),
        "subsolar_longitude": np.r_[
            np.linspace(-179, -180, 51), np.linspace(179.98, 179, 50)
        ],
        "subsolar_latitude": np.linspace(1, 2, 101),
    }
    when = np.datetime64("1998-04-01") + np.timedelta64(75 * 80, "s")
    assert np.allclose(subsolar_at(spec, when), (1.75, 179.5), atol=0.01)
    assert subsolar_at(spec, "1998-04-01T12") == pytest.approx((2, 179))
    for results, time in (
        (spec, "1998-04-09"),
        ({k: v for k, v in spec.items() if "subsolar" not in k}, when),
    ):
        with pytest.raises(ValueError, match="where the Sun stood"):
            subsolar_at(results, time)


def test_limits_are_symmetric_round_and_robust():
    volts = np.append(np.full(999, -90.0), -40000.0)
    scale = potential_scale(volts)
    assert scale.limit == 100 and scale.norm().vmin == -scale.norm().vmax == -100
    assert scale(0) == 0 and scale(-1e6) == -1 and scale(1e6) == 1
    assert np.allclose(scale(-np.array([1, 10, 50])), -scale([1, 10, 50]))
    assert (
        potential_scale([np.nan]).limit == 100
        and potential_scale(volts, limit=300).limit == 300
    )
    for limit in (20, 100, 200, 500, 1000, 2000):
        ticks = PotentialScale(limit).ticks()
        assert (
            ticks[0] == -limit
            and ticks[-1] == limit
            and 0 in ticks
            and np.diff(PotentialScale(limit)(ticks)).min() > 0.1
        )


def test_narrow_sets_weigh_more():
    import pandas as pd

    scale = PotentialScale(500)
    points = pd.DataFrame(
        {"lower": [-101, -200, -500, np.nan], "upper": [-99, -50, 500, -10]}
    )
    weight = confidence_weight(points, scale)
    assert weight[0] > weight[1] > weight[2] == weight[3] == pytest.approx(0.2)
    assert (
        confidence_weight(points.assign(lower=np.nan, upper=np.nan), scale) == 1
    ).all()
