"""Small tables of the archive for the tests: clean, damaged and changed ones."""

import functools
import os

import numpy as np
from hypothesis import settings

from lunar_potential.data.er.erdata import ERData
from lunar_potential.data.er.table import ERTable, read_er_table, write_er_table
from lunar_potential.units import cells_in_ring

THETA = np.repeat(
    [78.75, 56.25, 33.75, 11.25, -11.25, -33.75, -56.25, -78.75],
    [4, 8, 16, 16, 16, 16, 8, 4],
)
CELLS = np.array([cells_in_ring(ring) for ring in THETA])
N_SWEEPS = 6
quick = settings(max_examples=25, deadline=None)


def make_rows(n_sweeps=N_SWEEPS, seed=0, first=1):
    rng = np.random.default_rng(seed)
    sweep, step = np.divmod(np.arange(15 * n_sweeps), 15)
    energy, time = np.round(16680.334 / 1.5425**step, 3), 891388824 + 80 * sweep
    flux = (
        rng.poisson(1e7 * energy[:, None] ** -1.5 / CELLS)
        * 20
        * CELLS
        / energy[:, None]
    )
    return dict(
        utc=(time + 5 * step).astype("datetime64[s]"),
        time=time,
        energy=energy,
        spec_no=sweep + first,
        b=rng.normal(0, 8, (n_sweeps, 3)).repeat(15, 0),
        flux=flux,
        phi=rng.uniform(0, 360, flux.shape),
    )


@functools.cache
def clean(tmp):
    path = write_er_table(tmp / "3D980401.TAB", **make_rows())
    table, bad = read_er_table(path)
    assert bad.empty
    return path.read_bytes().split(b"\r\n")[:-1], table


def same_bits(table, other, rows=slice(None)):
    return all(
        getattr(table, name).tobytes()
        == np.ascontiguousarray(getattr(other, name)[rows]).tobytes()
        for name in ERTable._fields[:-1]
    )


def read_bytes_as_table(tmp, content):
    path = tmp / f"{os.getpid()}.tab"
    path.write_bytes(content)
    return read_er_table(path)


def written(tmp, change):
    rows = make_rows()
    change(rows)
    return ERData.from_files([write_er_table(tmp / "changed.tab", **rows)], THETA)
