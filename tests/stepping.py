"""Runs followed step by step."""

import torch

from phasefield.adaptive import StepControl, Stepper


def energies_until(model, u0, until):
    """The state at a time, and the free energy after every step there."""
    stepper = Stepper(model, StepControl())
    with torch.no_grad():
        state = stepper.start(u0)
        energies = [state.energy.total]
        while state.time < until:
            state = stepper.advance(state, until)
            energies.append(state.energy.total)
    return state, energies
