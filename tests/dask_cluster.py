"A dask cluster of two processes on this machine."

import contextlib
import logging

import pytest


@contextlib.contextmanager
def local_cluster():
    "The client of a new cluster; the test is skipped where dask is missing."
    distributed = pytest.importorskip("distributed")
    options = dict(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )
    with (
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client
