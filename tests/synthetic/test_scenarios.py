"Scenarios: each is what its name says, finite, and the same for the same seed."

import dataclasses
import datetime

import numpy as np
import pytest

from lunar_potential.data.archive import Archive
from lunar_potential.data.er.erdata import ERData
from lunar_potential.synthetic import kernels, sweeps
from lunar_potential.synthetic.draws import draw_sweeps, draw_truth
from lunar_potential.synthetic.instrument import cell_azimuths, energy_table
from lunar_potential.synthetic.orbit import draw_attitude
from lunar_potential.synthetic.plasma import electron_current, photo_current
from lunar_potential.synthetic.scenario import (
    ORDINARY,
    PLAIN,
    REGIMES,
    SCENARIOS,
    find_scenario,
)
from lunar_potential.synthetic.simulate import load_truth, simulate_archive
from lunar_potential.synthetic.sweeps import (
    Truth,
    expected_flux,
    recorded_fields,
    simulate_sweeps,
)
from lunar_potential.synthetic.truth import join_truths

ENERGY = energy_table()
DATE = datetime.date(1998, 4, 1)
EACH = pytest.mark.parametrize("name", SCENARIOS)


def same_truth(one, other):
    for name, values in vars(one).items():
        np.testing.assert_array_equal(values, getattr(other, name), err_msg=name)


def draw(name, seed=3):
    "Sweeps of all regimes of a scenario."
    return draw_sweeps(name, max(6, len(find_scenario(name)[1].regimes)), seed)


# --- every scenario


@EACH
def test_a_scenario_is_measured_finite_and_alike_however_it_is_split(name, monkeypatch):
    truth, options = draw(name), SCENARIOS[name].instrument
    _, first = np.unique(truth.regime, return_index=True)
    truth = truth.select(np.union1d(first, [0, 1, 2, 4, 5])[:6])
    phi = cell_azimuths(np.linspace(0, 300, len(truth)))
    together = expected_flux(truth, ENERGY, phi, options)
    assert np.isfinite(together[0]).all() and (together[0] >= 0).all()
    assert (together[0].max(axis=2) > 0).all() and (truth.scenario == name).all()
    monkeypatch.setattr(sweeps, "GROUP", 4)
    for one, other in zip(expected_flux(truth, ENERGY, phi, options), together):
        np.testing.assert_array_equal(one, other)
    chosen = np.array([4, 1])
    some = expected_flux(truth.select(chosen), ENERGY, phi[chosen], options)
    for one, other in zip(some, together):
        np.testing.assert_array_equal(one, other[chosen])


@EACH
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(name):
    one, again, other = (draw(name, seed) for seed in (3, 3, 4))
    same_truth(one, again)
    assert (one.n != other.n).all() and (one.b != other.b).any()
    first, last = one.select([0]), again.select([0])
    options = SCENARIOS[name].instrument
    measured = [simulate_sweeps(truth, options, seed=5) for truth in (first, last)]
    np.testing.assert_array_equal(measured[0].flux, measured[1].flux)
    np.testing.assert_array_equal(measured[0].b_rows, measured[1].b_rows)


@EACH
def test_a_drawn_sweep_is_complete(name):
    truth = draw(name)
    unknown_place = {"sc_lat", "sc_lon"}  # no orbit
    for field, values in vars(truth).items():
        if values.dtype.kind == "f" and field not in unknown_place:
            missing = np.isnan(values.reshape(len(truth), -1)).any(axis=1)
            assert not missing[truth.connected].any(), field
    np.testing.assert_array_equal(np.isnan(truth.u_lowest), ~truth.connected)
    assert (truth.n > 0).all() and (truth.T > 0).all() and (truth.kappa > 1.5).all()
    assert (truth.level > 0.5).all() and (truth.warmth > 0.9).all()


PROMISES = [  # field, lowest and highest value, of which sweeps
    ("core and halo", "halo", 0.06, 0.06, None),
    ("mild halo", "halo", 0.03, 0.03, None),
    ("strahl", "strahl", 2, 9, None),
    ("weak strahl", "strahl", 0.3, 1.5, None),
    ("strahl", "strahl_sign", 1, 1, None),
    ("no cone, strahl", "strahl_sign", 1, 1, None),
    ("anisotropy", "anisotropy", -0.15, 0.15, None),
    ("drifting level", "level", 0.7, 1.3, None),
    ("shadow crossing", "light_change", 1, 14, None),
    ("particles", "background", 10, 10, None),
    ("SEP day", "background", 10, 30, None),
    ("backscatter", "backscatter", 0.08, 0.25, None),
    ("backscatter", "backscatter_slope", 0.6, 0.6, None),
    ("smeared edge", "smear", 3, 3, None),
    ("positive ground", "u_surface", 50, 150, "foot_sun"),
    ("positive ground", "u_lowest", 0, 0, "foot_sun"),
    ("kilovolts", "u_surface", -4500, -1000, "shade"),
    ("kilovolts", "u_lowest", -4500, -1000, "shade"),
    ("ratio near 1", "bs_over_bm", 0.85, 1.15, None),
    ("ratio above 1", "bs_over_bm", 1.05, 2, None),
    ("anomaly", "bs_over_bm", 0.85, 2, "connected"),
    ("beams", "beam_amp", 0.3, 3, "shade"),
    ("plain", "sheath", 1e-3, 1e-3, None),
    ("plain", "secondaries", 0, 0, None),
    ("plain", "light_change", 15, 15, None),
    ("plain", "level", 1, 1, None),
    ("control", "backscatter_slope", 0.3, 0.3, None),
    ("control", "sheath", 100, 100, "shade"),
    ("control", "sheath", 10, 10, "foot_sun"),
    ("control", "emission", 3, 3, None),
    ("thin wake", "n", 7e3 * np.exp(-2.75), 7e3 * np.exp(2.75), None),
]


@pytest.mark.parametrize("name, field, low, high, which", PROMISES)
def test_a_scenario_keeps_its_promise(name, field, low, high, which):
    truth = draw_sweeps(name, 60, 1)
    sweeps = {
        None: slice(None),
        "foot_sun": truth.foot_sun,
        "shade": truth.connected & ~truth.foot_sun,
        "connected": truth.connected,
    }[which]
    values = getattr(truth, field)[sweeps]
    spare = 1e-9 * abs(high)  # of rounding
    assert values.size and (values >= low - spare).all()
    assert (values <= high + spare).all()
    if high > low:
        assert np.ptp(values) > 0.4 * (high - low)


@pytest.mark.parametrize("name, speed", [("flow", 400), ("no cone, flow", 400)])
def test_the_wind_blows_away_from_the_sun(name, speed):
    flow = draw_sweeps(name, 40, 1).flow
    np.testing.assert_allclose(np.linalg.norm(flow, axis=1), speed)
    assert (flow[:, 0] < -0.95 * speed).all()


@pytest.mark.parametrize("name, low, high", [("field direction", 2, 2)])
def test_the_recorded_field_is_off_by_the_stated_angle(name, low, high):
    truth = draw_sweeps(name, 40, 1)
    recorded, true = recorded_fields(truth)[:, 7], truth.b
    cosine = (recorded * true).sum(1)
    cosine /= np.linalg.norm(recorded, axis=1) * np.linalg.norm(true, axis=1)
    angle = np.degrees(np.arccos(cosine))
    assert (angle > low - 0.03).all() and (angle < high + 0.03).all()


def test_a_turning_field_turns_by_ten_to_twenty_degrees():
    truth = draw_sweeps("turning field", 40, 1)
    first, last = recorded_fields(truth)[:, [0, 14]].transpose(1, 0, 2)
    cosine = (first * last).sum(1)
    cosine /= np.linalg.norm(first, axis=1) * np.linalg.norm(last, axis=1)
    angle = np.degrees(np.arccos(cosine))
    assert (angle > 9.95).all() and (angle < 20.05).all() and np.ptp(angle) > 5


def test_a_barrier_hides_positive_ground():
    truth = draw_sweeps("barrier", 100, 1)
    above = truth.barrier > 0
    sunlit = truth.foot_sun & (truth.regime != "plasma_sheet")
    np.testing.assert_array_equal(above, sunlit)
    assert (truth.u_surface[above] > 0).all() and above.sum() > 20
    off = truth.u_lowest[above] + truth.barrier[above]
    assert (off >= -1e-9).all() and (off < 3).all()


@pytest.mark.parametrize("name", [name for name in SCENARIOS if "no cone" in name])
def test_without_a_cone_nothing_is_connected_though_rays_hit(name):
    truth = draw_sweeps(name, 20, 1)
    assert not truth.connected.any() and (truth.polarity != 0).all()
    assert np.isnan(truth.u_surface).all()


def test_without_a_cone_an_isotropic_plasma_has_no_direction():
    truth, options = draw("no cone"), SCENARIOS["no cone"].instrument
    phi = cell_azimuths(np.linspace(0, 300, len(truth)))
    flux, _ = expected_flux(truth, ENERGY, phi, options)
    np.testing.assert_allclose(flux, np.broadcast_to(flux[..., :1], flux.shape))


def test_without_a_cone_a_strahl_comes_down_only():
    truth = draw_sweeps("no cone, strahl", 10, 1)
    phi = cell_azimuths(np.linspace(0, 300, 10))
    options = SCENARIOS["no cone, strahl"].instrument
    flux, _ = expected_flux(truth, ENERGY, phi, options)
    lat, lon = np.radians(sweeps.THETA), np.radians(phi)
    unit = truth.b * truth.polarity[:, None]
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    mu = unit[:, 0, None, None] * np.cos(lat) * np.cos(lon)
    mu += unit[:, 1, None, None] * np.cos(lat) * np.sin(lon)
    mu += unit[:, 2, None, None] * np.sin(lat)
    row = np.argmin(np.abs(ENERGY - 210))
    for s in range(10):
        down, up = mu[s, row] > 0.93, mu[s, row] < -0.6
        assert flux[s, row, down].mean() > 1.5 * flux[s, row, up].mean()
        assert np.ptp(flux[s, row, up]) < 5e-3 * flux[s, row, up].mean()


# --- the ordinary Moon


@pytest.fixture(scope="module")
def ordinary():
    "Many sweeps, each a day from the next."
    return draw_sweeps("ordinary", 6000, 2)


def near(found, share):
    "Whether a share lies within five standard deviations of the documented one."
    return abs(found.mean() - share) < 5 * np.sqrt(share * (1 - share) / len(found))


def test_the_ordinary_moon_has_the_documented_proportions(ordinary):
    counts = {name: (ordinary.regime == name).sum() * 20 / 6000 for name in REGIMES}
    assert list(counts.values()) == [9, 5, 2, 2, 2]
    lit, ground = ordinary.foot_sun, ordinary.connected
    assert near(ordinary.light_change < 15, 0.02) and near(~ground, 0.03)
    assert near(ordinary.background > 1, 0.05)
    assert near(ordinary.barrier[ground & lit & ~in_sheet(ordinary)] > 0, 0.3)
    assert near(ordinary.beam_amp[ground & ~lit] > 0, 0.1)
    assert not (ordinary.beam_amp[ground & lit] > 0).any()
    above_one = 0.05 * np.log(2) / np.log(2 / 0.85)  # of ratios from 0.85 to 2
    assert near(ordinary.bs_over_bm[ground] > 1, above_one)


def in_sheet(truth):
    return truth.regime == "plasma_sheet"


def test_each_regime_of_the_ordinary_moon_has_its_plasma(ordinary):
    wind = ordinary.regime == "solar_wind"
    assert ((ordinary.halo > 0) == wind).all() and ((ordinary.strahl > 0) == wind).all()
    speed = np.linalg.norm(ordinary.flow, axis=1)
    sheath = ordinary.regime == "magnetosheath"
    assert (speed[wind] >= 300).all() and (speed[wind] <= 550).all()
    assert (speed[sheath] >= 180).all() and (speed[sheath] <= 330).all()
    assert not speed[~wind & ~sheath].any()
    for name, median in (("wake", 7e3), ("lobe", 3e4), ("solar_wind", 5e6)):
        assert np.median(ordinary.n[ordinary.regime == name]) == pytest.approx(
            median, rel=0.15
        )
    down = (ordinary.b * np.sign(ordinary.polarity)[:, None])[:, 0] < 0
    np.testing.assert_array_equal(ordinary.strahl_sign == 1, down)


def test_currents_to_a_sunlit_spacecraft_in_the_ordinary_wind_balance(ordinary):
    truth = ordinary.select((ordinary.regime == "solar_wind") & (ordinary.u_sc > 0))
    core = electron_current(truth.n * (1 - truth.halo), truth.T, truth.kappa)
    halo = electron_current(truth.n * truth.halo, truth.halo_T, truth.halo_kappa)
    np.testing.assert_allclose(photo_current(truth.u_sc), core + halo, rtol=1e-9)


@pytest.fixture(scope="module")
def one_day():
    "A whole day along the orbit, without files."
    start = float(kernels.utc_to_et("1998-03-31"))
    attitude = draw_attitude(0, DATE, DATE)

    def drawn(scenario):
        return draw_truth(DATE, 1080, 80.0, 0, None, scenario, attitude, start, 100.0)

    return {name: drawn(name) for name in ("ordinary", "plain")}


def test_the_light_changes_along_the_orbit_where_the_next_sweep_has_the_other(one_day):
    truth = one_day["ordinary"]
    changes = np.flatnonzero(truth.light_change[:-1] < 15)
    crossings = np.flatnonzero(truth.sc_sun[1:] != truth.sc_sun[:-1])
    assert 15 < len(changes) <= len(crossings) < 28  # twelve orbits, in and out
    assert set(changes) <= set(crossings)
    before, after = truth.u_sc[changes], truth.u_sc_after[changes]
    lit = truth.sc_sun[changes]
    assert (np.where(lit, before - after, after - before) > 0).all()
    steady = truth.light_change == 15
    np.testing.assert_array_equal(truth.u_sc_after[steady], truth.u_sc[steady])


def test_the_plain_moon_keeps_its_light_within_a_sweep(one_day):
    assert (one_day["plain"].light_change == 15).all()
    np.testing.assert_array_equal(one_day["plain"].sc_sun, one_day["ordinary"].sc_sun)


# --- archives


SMALL = dict(sweeps_per_day=12, cadence=7200.0)


def test_an_archive_is_of_the_ordinary_moon_unless_told_otherwise(tmp_path):
    ordinary = simulate_archive(tmp_path / "a", **SMALL)
    named = simulate_archive(tmp_path / "b", scenario="ordinary", **SMALL)
    plain = simulate_archive(tmp_path / "c", scenario="plain", **SMALL)
    same_truth(ordinary, named)
    assert set(ordinary.scenario) == {"ordinary"} and ordinary.strahl.any()
    assert set(plain.scenario) == {"plain"} and not plain.strahl.any()


def test_an_archive_uses_the_instrument_of_its_scenario(tmp_path):
    """Sunlight enters the cells that look at the Sun, unless the option says otherwise.

    Above 3 keV there is little else in them."""
    sunlit = []
    for name, options in (("a", {}), ("b", {"hard": False})):
        truth = simulate_archive(tmp_path / name, seed=2, **SMALL, **options)
        archive = Archive(tmp_path / name)
        block = ERData.from_files(archive.files(), archive.theta).padded()
        glare = (np.abs(block["phi"] - 180) < 6) & (np.abs(sweeps.THETA) < 12)
        glare &= block["energy"][:, :, None] > 3000
        glare &= truth.sc_sun[:, None, None]
        counts = block["flux"] * block["energy"][:, :, None]
        sunlit.append(np.nanmean(counts[glare]))
    assert sunlit[0] > 2.5 * sunlit[1]


def test_a_scenario_of_ones_own(tmp_path):
    own = dataclasses.replace(PLAIN, shade=(-300.0, -300.0), ratio=(0.5, 0.5))
    truth = simulate_archive(tmp_path, scenario=own, **SMALL)
    dark = truth.connected & ~truth.foot_sun
    assert set(truth.scenario) == {"own"} and dark.any()
    assert (truth.u_lowest[dark] == -300).all()
    np.testing.assert_allclose(truth.bs_over_bm[truth.connected], 0.5)
    assert find_scenario(ORDINARY)[0] == "ordinary"


@pytest.mark.parametrize("call", [find_scenario, draw_sweeps])
def test_an_unknown_scenario_names_the_choices(call, tmp_path):
    with pytest.raises(
        ValueError, match="'moon' is unknown.*ordinary, .*no cone, flow"
    ):
        call("moon")
    with pytest.raises(ValueError, match="plain, control, ordinary"):
        simulate_archive(tmp_path / "x", scenario="moon", **SMALL)
    assert not (tmp_path / "x").exists()


def test_bad_draws_are_refused():
    with pytest.raises(ValueError, match="'ionosphere' is unknown; choose from solar"):
        draw_sweeps("plain", 3, regimes=("solar_wind", "ionosphere"))
    with pytest.raises(ValueError, match="0 sweeps"):
        draw_sweeps("plain", 0)
    with pytest.raises(TypeError, match="colour"):
        Truth.of(1, colour="red")


@pytest.mark.parametrize("option", ["anisotropy", "edge_blur", "backscatter", "smear"])
def test_an_option_that_is_no_property_of_the_instrument_is_refused(tmp_path, option):
    with pytest.raises(TypeError, match=option):
        simulate_archive(tmp_path / "x", **{option: 0.1}, **SMALL)
    assert not (tmp_path / "x").exists()


# --- the file of the truth


def test_the_truth_comes_back_from_its_file(tmp_path):
    truth = join_truths([draw("ordinary"), draw("no cone"), draw("shadow crossing")])
    truth.save(tmp_path / "truth.npz")
    same_truth(load_truth(tmp_path / "truth.npz"), truth)
    with np.load(tmp_path / "truth.npz") as stored:
        np.testing.assert_array_equal(stored["u_lowest"], truth.u_lowest)


@pytest.mark.parametrize("lacking", [["sheath"], ["strahl", "flow"], ["scenario"]])
def test_a_truth_of_another_version_says_what_it_lacks(tmp_path, lacking):
    fields = vars(draw("plain"))
    path = tmp_path / "truth.npz"
    np.savez(path, **{k: v for k, v in fields.items() if k not in lacking})
    with pytest.raises(ValueError, match="another version") as error:
        load_truth(path)
    assert str(path) in str(error.value)
    assert all(name in str(error.value) for name in lacking)


def test_a_table_of_the_truth_has_one_column_for_each_component(ordinary):
    truth = ordinary.select(slice(0, 5))
    table = truth.to_frame()
    assert len(table) == 5 and {"bx", "by", "bz", "flowx", "u_lowest"} <= set(table)
    assert not {"b", "flow", "level", "warmth"} & set(table)
    np.testing.assert_array_equal(table[["bx", "by", "bz"]], truth.b)
