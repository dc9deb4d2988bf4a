"Kernels and a spin-axis table of a few days, for tests of geometry."

from lunar_potential.physics.attitude import read_attitude
from lunar_potential.synthetic.kernels import write_kernels

TABLE = (
    "1998-12-30T06:00, 12.007, 118.37,  87.53\r\n"
    "1999-01-01T00:00, 12.017, 119.12,  87.85\r\n"
)


def orbit_kernels(tmp_path_factory):
    "Paths of the kernels of five days around a leap second."
    return write_kernels(tmp_path_factory.mktemp("kernels"), "1998-12-30", "1999-01-03")


def spin_axis_table(tmp_path_factory):
    "The attitude of TABLE, read from a file."
    path = tmp_path_factory.mktemp("table") / "attitude.tab"
    path.write_text(TABLE)
    return read_attitude(path)
