"""Invented results of a run, all over the Moon."""

import numpy as np


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
