"""Networks trained once for all tests of `idnn`."""

import pytest
from references import DupinNickelAluminium, measured

from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.train import FitSettings, derivative_loss, fit, prepare

TEMPERATURE = 1273.0


@pytest.fixture(scope="session")
def truth():
    return DupinNickelAluminium(TEMPERATURE)


@pytest.fixture(scope="session")
def trained(truth):
    """The default network, trained on 300 exact states of the truth."""
    network = IntegrableNetwork(FCC_L12, TEMPERATURE, NetworkSettings())
    data = measured(truth, 300, seed=1, sigma=1e-3, noise=0)
    fit(network, derivative_loss, prepare(network, data), FitSettings())
    return network.requires_grad_(False)
