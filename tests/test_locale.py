"""Months and clock times do not depend on language, zone or matplotlibrc.

The locale is made here where `localedef` and its sources are installed; elsewhere the
names of months are replaced as it would replace them.
"""

import os
import shutil
import subprocess
import sys

import pytest

PLACES = """
import calendar, datetime, locale, sys
if "generated" in sys.argv:
    locale.setlocale(locale.LC_ALL, "")
    assert datetime.date(1998, 3, 1).strftime("%b").upper() == "MÄR"
else:
    months = "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez"
    calendar.month_abbr = ["", *months.split()]
from lunar_potential.data.archive import Archive
from lunar_potential.data.download.products import month_folder
from lunar_potential.synthetic.simulate import day_path, simulate_archive
days = [datetime.date(1998, month, 2) for month in range(1, 13)]
print(*(month_folder(day) for day in days))
assert [day_path(".", day).parent.as_posix() for day in days] == [
    month_folder(day) for day in days
]
simulate_archive("archive", dates=["1998-03-02"], sweeps_per_day=2)
print(*(path.relative_to("archive").as_posix() for path in Archive("archive").files()))
"""
FOLDERS = (
    "1998/001_031JAN 1998/032_059FEB 1998/060_090MAR 1998/091_120APR 1998/121_151MAY "
    "1998/152_181JUN 1998/182_212JUL 1998/213_243AUG 1998/244_273SEP 1998/274_304OCT "
    "1998/305_334NOV 1998/335_365DEC"
)


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    "Environment of a German machine; empty, with the reason printed, without one."
    if not shutil.which("localedef"):
        print("no localedef here: the names of months are replaced instead")
        return {}
    folder = tmp_path_factory.mktemp("locale")
    made = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "UTF-8", folder / "de_DE.UTF-8"],
        capture_output=True,
        text=True,
    )
    if not (folder / "de_DE.UTF-8" / "LC_TIME").exists():
        print(f"no German locale here ({made.stderr[:200]}): names are replaced")
        return {}
    return {"LC_ALL": "de_DE.UTF-8", "LOCPATH": str(folder)}


def run(code, folder, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_folders_of_months_are_english_everywhere(german, tmp_path):
    how = "generated" if german else "replaced"
    folders, files = run(PLACES, tmp_path, how, **german)
    assert folders == FOLDERS
    assert files == "1998/060_090MAR/3D980302.TAB"


AXES = """
import datetime, locale, sys
import numpy as np
locale.setlocale(locale.LC_ALL, "")
import matplotlib
matplotlib.use("agg")
from matplotlib.figure import Figure
from lunar_potential.fast.esa import read_esa
from lunar_potential.fast.plots import (
    FAST_plot_instrument_grid, FAST_plot_pitch_angle_grid,
)
from lunar_potential.view.globe.footpoints import example_sweeps
from lunar_potential.view.globe.variation import plot_timeseries
from lunar_potential.view.spectrogram.spectrogram import make_spectrogram
data = read_esa(sys.argv[1])
time = data["time"].values
hours = np.datetime64("1998-03-01T12:00") + np.arange(400) * np.timedelta64(3, "m")
days = {"start": "1998-04-20", "end": "1998-04-22"}
panel = Figure()
make_spectrogram(panel.add_subplot(), hours, [10.0, 20.0, 40.0], np.ones((400, 3)))
for figure in (
    plot_timeseries(example_sweeps(30, 400), **days)[0].figure,
    panel,
    FAST_plot_pitch_angle_grid(data),
    FAST_plot_instrument_grid({"eeb": data}),
):
    figure.draw_without_rendering()
    for ax in figure.axes:
        print([label.get_text() for label in ax.get_xticklabels()],
              ax.xaxis.get_offset_text().get_text())
"""


def test_axes_that_say_utc_are_utc(german, tmp_path):
    from lunar_potential.fast.simulate import simulate_cdf

    path = str(simulate_cdf(tmp_path, "eeb", records=40, spoil=False).path)
    settings = tmp_path / "matplotlibrc"
    plain = run(AXES, tmp_path, path)
    settings.write_text("timezone: America/Los_Angeles\ndate.epoch: 0000-12-31T00:00\n")
    zone = {"MATPLOTLIBRC": str(settings), "TZ": "Asia/Tokyo", **german}
    assert run(AXES, tmp_path, path, **zone) == plain
    written = "\n".join(plain)
    assert "04-21" in written and "'15:00'" in written
    assert "1998-03-02" in written and "2000-01-19" in written
