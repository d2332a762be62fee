"""How every figure of this package looks."""

from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe & Ito's colours, told apart with any colour vision."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of the given size in inches; not registered with pyplot."""
    return Figure(figsize=(width, height), layout="constrained", dpi=160)
