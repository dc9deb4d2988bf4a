"""FAST ESA spectrograms: pictures of thousands of orbits, right and resumable."""

_lazy = {  # public name: the module it lives in
    "BatchSummary": "fast.batch",
    "FAST_plot_instrument_grid": "fast.plots",
    "FAST_plot_pitch_angle_grid": "fast.plots",
    "FAST_plot_spectrograms_directory": "fast.batch",
    "OrbitExplorer": "fast.explore",
    "classify": "fast.cdf",
    "compute_global_extrema": "fast.extrema",
    "find_orbits": "fast.cdf",
    "generic_batch_plot": "fast.batch",
    "generic_plot_spectrogram_set": "view.spectrogram",
    "make_spectrogram": "view.spectrogram",
    "read_cusp_table": "fast.cdf",
    "read_esa": "fast.cdf",
    "round_extrema": "fast.extrema",
    "save_picture": "view.spectrogram",
    "simulate_archive": "fast.simulate",
}
__all__ = list(_lazy)


def __getattr__(name):
    "Imports a public name when it is first used, so that `import lunar_potential.fast` stays light."
    if name not in _lazy:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"lunar_potential.{_lazy[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_lazy})
