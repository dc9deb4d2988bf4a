"""Work that sleeps, fails, hangs or kills, for the tests of the engine.

A module of its own, so that every worker can import it."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np


def square(number):
    logging.getLogger("lunar_potential.work").info("working on %s", number)
    time.sleep(0.05)
    return np.sqrt(np.arange(5.0) + number)


def where(_):
    return os.getcwd(), os.getpid()


def fails(number):
    if number % 3 == 0:
        raise ZeroDivisionError("three")
    if number % 3 == 1:
        raise ValueError("one")
    return number


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def fails_badly(number):
    raise Unpicklable("cannot travel", lambda: None)


def category(error):
    return "divide-by-zero" if isinstance(error, ZeroDivisionError) else "generic"


def dies(item):
    "Kills its worker: always if `item` is negative, the first time if it is a path."
    if isinstance(item, Path) and not item.exists():
        item.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if not isinstance(item, Path) and item < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return str(item)


def hangs(item):
    """Hangs in the way that its kind names.

    Its process id becomes the name of a file, that of a child of a child the content of
    another."""
    kind, folder = item
    (folder / f"pid {os.getpid()}").touch()
    if kind == "python":
        time.sleep(3600)
    if kind == "c":  # PyDLL keeps the interpreter's lock: no Python code runs any more
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        while True:
            ctypes.PyDLL(None).sleep(3600)
    if kind == "child of a child":
        inner = (
            f"import os, time; note = open({str(folder / 'inner')!r}, 'w'); "
            "note.write(str(os.getpid())); note.close(); time.sleep(3600)"
        )
        outer = (
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
        )
        subprocess.run([sys.executable, "-c", outer])
    time.sleep(0.2)
    return kind


def sleeps(number):
    time.sleep(0.3 if number < 30 else 3)
    return number


def gives_a_lock_for_two(number):
    return threading.Lock() if number == 2 else number


def exits_for_two(number):
    if number == 2:
        sys.exit("two")
    return number


def counts(item, progress):
    "Reports as many steps as the item says; kills its worker once if there is a path."
    number, marker = item
    for _ in range(number):
        progress(1)
        time.sleep(0.001)
    if marker is not None and not marker.exists():
        marker.touch()
        time.sleep(0.3)
        progress(1)
        os.kill(os.getpid(), signal.SIGKILL)
    return number
