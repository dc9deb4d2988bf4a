"""FAST ESA spectrograms: pictures of thousands of orbits, right and resumable."""

_lazy = {  # public name: the module it lives in
    "BatchSummary": "fast.generic",
    "FAST_plot_instrument_grid": "fast.plots",
    "FAST_plot_pitch_angle_grid": "fast.plots",
    "FAST_plot_spectrograms_directory": "fast.batch",
    "OrbitExplorer": "fast.explore",
    "classify": "fast.esa",
    "compute_global_extrema": "fast.extrema",
    "find_orbits": "fast.files",
    "generic_batch_plot": "fast.generic",
    "generic_plot_spectrogram_set": "view.spectrogram.panels",
    "make_spectrogram": "view.spectrogram.spectrogram",
    "read_cusp_table": "fast.cusp",
    "read_esa": "fast.esa",
    "round_extrema": "fast.extrema",
    "save_picture": "view.spectrogram.panels",
    "simulate_archive": "fast.simulate",
}
__all__ = list(_lazy)


def __getattr__(name):
    "Imports a public name when it is first used; the package itself stays light."
    if name not in _lazy:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"lunar_potential.{_lazy[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_lazy})
