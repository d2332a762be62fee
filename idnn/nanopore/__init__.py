"""Ion transport through the pores of polyamide nanofiltration membranes."""

from idnn.nanopore.activity import Davies, debye_hueckel
from idnn.nanopore.channel import spiral_wound
from idnn.nanopore.closures import (
    Closure,
    Corrections,
    LearnedClosure,
    LearnedLocalClosure,
    LocalClosure,
    untrained,
)
from idnn.nanopore.collocation import two_nodes
from idnn.nanopore.fitting import Fit, committee, fit_closure, fit_membranes
from idnn.nanopore.hindrance import bowen_mohammad_hilal, dechadilok_deen, geraldes_alves
from idnn.nanopore.ions import Ions, ions
from idnn.nanopore.measurements import Measurements
from idnn.nanopore.membrane import Membrane, Water, layered_permittivity, pore_viscosity
from idnn.nanopore.simulation import SimulatedMembranes, mixtures, pretrained, usual_error
from idnn.nanopore.solutions import neutralised
from idnn.nanopore.transport import NotConverged, Transport, transport

__all__ = [
    "Closure",
    "Corrections",
    "Davies",
    "Fit",
    "Ions",
    "LearnedClosure",
    "LearnedLocalClosure",
    "LocalClosure",
    "Measurements",
    "Membrane",
    "NotConverged",
    "SimulatedMembranes",
    "Transport",
    "Water",
    "bowen_mohammad_hilal",
    "committee",
    "debye_hueckel",
    "dechadilok_deen",
    "fit_closure",
    "fit_membranes",
    "geraldes_alves",
    "ions",
    "layered_permittivity",
    "mixtures",
    "neutralised",
    "pore_viscosity",
    "pretrained",
    "spiral_wound",
    "transport",
    "two_nodes",
    "untrained",
    "usual_error",
]
