"""One network trained alone, and what its parameters are called: for the tests of the core."""

import torch

from idnn.levenberg import LevenbergMarquardt, least_squares
from idnn.network import IntegrableNetwork
from idnn.residuals import blocks


def parameters_of(network):
    """By name, without a graph."""
    return {name: p.detach() for name, p in network.named_parameters()}


def rms(x):
    return float(x.square().mean().sqrt())


def learn(network, data, settings=None):
    """Train the members of a network, in place, on the same data; where each ended."""
    fit = least_squares(
        parameters_of(network),
        blocks(network, data),
        settings or LevenbergMarquardt(),
        linear=f"weights.{len(network.settings.widths)}",
    )
    with torch.no_grad():
        for name, p in network.named_parameters():
            p.copy_(fit.parameters[name])
    network.requires_grad_(False)
    return fit


def best_of(system, temperature, shape, data, *, restarts=4, settings=None):
    """The member of lowest objective among several that began elsewhere."""
    network = IntegrableNetwork(system, temperature, shape, seeds=range(restarts))
    fit = learn(network, data, settings)
    return network.member(int(fit.objective.argmin())).requires_grad_(False)
