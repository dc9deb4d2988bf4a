"""A simulated archive that the tests share: three plain days of 30 sweeps each."""

import shutil
import signal

import pytest
from hypothesis import settings
from simulated_days import DATES, SWEEPS

from lunar_potential.data.archive import Archive
from lunar_potential.pipeline import load_all_data, process_merged_data
from lunar_potential.synthetic.simulate import simulate_archive

# An example may be slow on a busy machine, and the first one compiles.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def interruptible():
    """SIGINT interrupts a test and the processes that it starts.

    Tests that run in the background of a script inherit an ignored SIGINT.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before or signal.SIG_DFL)


@pytest.fixture(scope="session")
def _simulated(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    return root, simulate_archive(
        root,
        dates=DATES,
        sweeps_per_day=SWEEPS,
        cadence=2800,
        seed=11,
        scenario="plain",
    )


@pytest.fixture(scope="session")
def archive(_simulated):
    "The archive; not to be changed."
    return Archive(_simulated[0])


@pytest.fixture(scope="session")
def truth(_simulated):
    "What the simulator knows about each sweep of `archive`."
    return _simulated[1]


@pytest.fixture
def own_archive(archive, tmp_path):
    "A copy of the archive that a test may damage."
    return Archive(shutil.copytree(archive.root, tmp_path / "own archive"))


@pytest.fixture(scope="session")
def er(archive):
    "All sweeps of `archive`."
    return load_all_data(archive.files(), archive.theta)


@pytest.fixture(scope="session")
def results(er, archive):
    "All sweeps of `archive`, processed in one process."
    return process_merged_data(er, archive=archive)
