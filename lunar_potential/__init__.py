"""Electrostatic potentials of the lunar surface from Lunar Prospector electron reflectometry."""
__version__ = "0.1.0"

_lazy = {  # public name: the module it lives in
    "Archive": "data.archive",
    "DayExplorer": "view.explore.day",
    "ERData": "data.er.erdata",
    "MonthExplorer": "view.explore.month",
    "PotentialResults": "potentials",
    "SweepExplorer": "view.explore.sweep",
    "load_all_data": "pipeline",
    "lp_day_overview": "view.spectrogram.overview",
    "process_lp_file": "pipeline",
    "process_merged_data": "pipeline",
    "run_all": "batch",
    "run_day": "batch",
    "run_month": "batch",
    "run_year": "batch",
    "simulate_archive": "synthetic.simulate",
}
__all__ = list(_lazy)


def __getattr__(name):
    "Imports a public name when it is first used, so that `import lunar_potential` stays light."
    if name not in _lazy:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_lazy[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_lazy})
