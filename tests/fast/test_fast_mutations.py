"""Mutated ESA files: what the parser raises on bad bytes is the reader's own error.

The seeds are fixed and are in the names of the tests.
"""

import errno
import random
import struct

import cdflib
import pytest

from lunar_potential.fast import cdf, esa
from lunar_potential.fast.esa import QUANTITIES, read_esa
from lunar_potential.fast.files import BadShape, CDFError, Truncated
from lunar_potential.fast.simulate import simulate_cdf

NUMBERS = (0, 1, -1, 2, 3, 5, 7, 11, 13, 33, 44, 51, 99, 255, 2**16, 2**30)
NUMBERS += (2**31 - 1, -(2**31))
FULL = ("energy_full", "denergy_full", "pitch_angle", "domega", "time_unix")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    "Unpacked bytes of two small files, with values for each cell and with tables."
    folder = tmp_path_factory.mktemp("originals")
    paths = [
        simulate_cdf(folder, "eeb", n, records=2, spoil=False, without=without).path
        for n, without in enumerate(((), FULL))
    ]
    plain = folder / "plain.cdf"
    return [
        cdf._write_intact(path.read_bytes(), 2**30, plain).read_bytes()
        for path in paths
    ]


def records(data):
    "Places, sizes and kinds of all records of a file but those of numbers."
    at, found = 8, []
    while at < len(data):
        size, kind = struct.unpack_from(">qi", data, at)
        if kind not in (7, 13):
            found.append((at, size))
        at += size
    return found


def mutate(data, chance):
    "Changes up to three numbers or bytes of the records of a file."
    data, places = bytearray(data), records(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        at, size = chance.choice(places)
        if chance.random() < 0.7:
            at += 4 * chance.randrange(min(size, 400) // 4)
            struct.pack_into(">i", data, at, chance.choice(NUMBERS))
        else:
            data[at + chance.randrange(min(size, 500))] = chance.randrange(256)
    return data


@pytest.mark.parametrize("seed", range(6))
def test_mutations_raise_the_error_of_the_reader_or_none(tmp_path, originals, seed):
    chance, path = random.Random(seed), tmp_path / "mutated.cdf"
    for number in range(30):
        path.write_bytes(mutate(chance.choice(originals), chance))
        try:
            read_esa(path, chance.choice(list(QUANTITIES)))
        except CDFError as error:
            assert "mutated.cdf" in str(error) and error.sha256
        except Exception as error:
            raise AssertionError(f"seed {seed}, file {number}") from error


def at_variable(data, name):
    "Place of the record that describes a variable."
    return data.index(name.encode().ljust(256, b"\0")) - 84


@pytest.mark.parametrize(
    "offset, layout, values",
    [
        (20, ">i", (99,)),  # type of the numbers: the parser raised KeyError
        (0, ">q", (-1,)),  # its size: OverflowError
        (340, ">iii", (2, 2**30, 2**30)),  # dimensions
        (340, ">iii", (2, -1, -(2**31))),
        (44, ">ii", (4, 0)),  # packed, and does not say how
        (28, ">q", (8,)),  # the list of its blocks is the beginning of the file
        (28, ">q", (-8,)),
        (24, ">i", (3,)),  # one record more than there is
        (24, ">i", (-5,)),
    ],
)
def test_descriptions_that_make_no_sense(tmp_path, originals, offset, layout, values):
    data = bytearray(originals[0])
    struct.pack_into(layout, data, at_variable(data, "eflux") + offset, *values)
    (tmp_path / "a.cdf").write_bytes(data)
    with pytest.raises(CDFError, match="a.cdf: "):
        read_esa(tmp_path / "a.cdf")


def test_lists_in_lists_have_an_end(tmp_path, originals):
    data = bytearray(originals[0])
    at = at_variable(data, "eflux")
    first = len(data)
    for _ in range(3000):  # each a list with one entry: the next one
        place = len(data)
        data += struct.pack(">qiqiiiiq", 44, 6, 0, 1, 1, 0, 0, place + 44)
    struct.pack_into(">q", data, at + 28, first)
    (tmp_path / "deep.cdf").write_bytes(data + bytes(64))
    with pytest.raises(CDFError, match="deep.cdf"):
        read_esa(tmp_path / "deep.cdf")


def test_numbers_that_are_not_in_the_file_are_not_zeros(tmp_path, originals):
    "The parser fills up with zeros what the blocks lack."
    data = bytearray(originals[1])
    struct.pack_into(">i", data, at_variable(data, "theta") + 24, 50_000)
    (tmp_path / "a.cdf").write_bytes(data)
    with pytest.raises(Truncated, match="theta claims .* bytes and has"):
        read_esa(tmp_path / "a.cdf")


# what is not the fault of the file


@pytest.mark.parametrize(
    "trouble", [MemoryError(), OSError(errno.EIO, "Input/output error")]
)
def test_the_machine_is_not_the_fault_of_the_file(
    tmp_path, originals, monkeypatch, trouble
):
    def varget(self, *_):
        raise trouble

    (tmp_path / "a.cdf").write_bytes(originals[0])
    monkeypatch.setattr(cdflib.CDF, "varget", varget)
    with pytest.raises(type(trouble)):
        read_esa(tmp_path / "a.cdf")


def test_a_fault_of_the_program_is_not_hidden(tmp_path, originals, monkeypatch):
    def wrong(cells):
        raise KeyError("a mistake of ours")

    (tmp_path / "a.cdf").write_bytes(originals[0])
    monkeypatch.setattr(esa, "_pitch_angles", wrong)
    with pytest.raises(KeyError, match="a mistake of ours"):
        read_esa(tmp_path / "a.cdf")
    assert not issubclass(KeyError, CDFError) and issubclass(BadShape, CDFError)
