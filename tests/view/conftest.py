"""What the tests of pictures share."""

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture
def figures():
    "Matplotlib's pyplot; closes what a test has drawn."
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


@pytest.fixture(scope="session")
def moon():
    "A small texture of the schematic Moon."
    from lunar_potential.view.globe.moon import moon_texture

    return moon_texture(60, 120)
