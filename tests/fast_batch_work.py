"""Readers that count, fail, hang or kill their process, for tests of the FAST batch.

A module of its own, so that every worker can import it.
"""

import dataclasses
import os
import signal
from pathlib import Path

import jobs_work

from lunar_potential.fast.esa import read_esa
from lunar_potential.fast.files import NotCDF, parse_name


@dataclasses.dataclass(frozen=True)
class Reader:
    "Notes each file that it reads, and fails in the given way at the given files."

    sample: Path  # a healthy file, read instead of each file
    folder: Path  # of the notes
    # (orbit, instrument) or orbit -> what to do
    faults: dict = dataclasses.field(default_factory=dict)

    def __call__(self, path):
        name = parse_name(path)
        with open(self.folder / "reads", "a") as file:
            file.write(f"{name.orbit} {name.instrument}\n")
        self.fail(
            self.faults.get((name.orbit, name.instrument), self.faults.get(name.orbit)),
            path,
        )
        data = read_esa(self.sample)
        data.attrs |= {
            "file": Path(path).name,
            "orbit": name.orbit,
            "instrument": name.instrument,
        }
        return (
            data.drop_vars("energy_width")
            if self.faults.get(name.orbit) == "plotting"
            else data
        )

    def fail(self, what, path):
        if what in ("python", "c", "child of a child"):
            jobs_work.hangs((what, self.folder))
        if what == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "SIGINT" or what == "SIGTERM":
            os.kill(os.getpid(), getattr(signal, what))
        if what == "handlers":
            (self.folder / "handlers").write_text(
                repr(
                    [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
                )
            )
        errors = {
            "timeout": TimeoutError("slow"),
            "invalid-cdf": NotCDF("text"),
            "divide-by-zero": ZeroDivisionError("zero"),
            "generic": RuntimeError("other"),
        }
        if what in errors:
            raise errors[what]

    @property
    def reads(self):
        "Orbits and instruments in the order of reading."
        lines = (
            (self.folder / "reads").read_text().split("\n")[:-1]
            if (self.folder / "reads").exists()
            else []
        )
        return [(int(line.split()[0]), line.split()[1]) for line in lines]


def rows(item):
    "A row for a number; hangs for a negative one."
    if item < 0:
        jobs_work.time.sleep(3600)
    return (
        [
            {
                "time": range(10),
                "energy": [10.0, 20.0, 40.0],
                "values": [[1.0, 2.0, 3.0 + item]] * 10,
            }
        ]
        if item % 5
        else []
    )
