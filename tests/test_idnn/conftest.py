"""Networks trained once for all tests of `idnn`."""

import pytest
from learning import best_of
from references import DupinNickelAluminium, measured

from idnn.network import NetworkSettings
from idnn.order_parameters import FCC_L12

TEMPERATURE = 1273.0


@pytest.fixture(scope="session")
def truth():
    return DupinNickelAluminium(TEMPERATURE)


@pytest.fixture(scope="session")
def trained(truth):
    """The default network, trained on 300 exact states of the truth."""
    data = measured(truth, 300, seed=1, sigma=1e-3, noise=0)
    return best_of(FCC_L12, TEMPERATURE, NetworkSettings(), data, restarts=2)
