"""CALPHAD databases of learned fcc solutions that order to L1₂, as TDB text."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from idnn.files import write_atomically
from idnn.ordered_fcc_fit import OrderedFccFit

RANGE = "298.15", "6000"
"""K, of all parameters: beyond its range a database's parameter counts as zero."""

Line = tuple[float, float]
"""a + bT, J/mol."""


def to_tdb(fit: OrderedFccFit, path: Path, elements: tuple[str, str]) -> None:
    """Write the phases FCC_A1 and FCC_L12 (its ordered part, on two sublattices) of a fit.

    The layout is that of Dupin, Ansara & Sundman (2001, doi:10.1016/S0364-5916(01)00049-9), so
    that both phases can be merged into a database of the same elements. Energies count from the
    pure elements as fcc; GHSER of both is therefore zero until real ones are put in their place.

    Args:
        fit: of a learned free energy.
        path: of the .tdb file.
        elements: (first, second); η₀ is the fraction of the second.

    Raises:
        ValueError: the elements are not two different ones.
    """
    from pymatgen.core import Element  # loads slowly, and a solver runs without it

    try:
        first, second = (Element(name.capitalize()) for name in elements)
    except ValueError as error:
        raise ValueError(f"`elements` must be symbols of elements; {error}.") from error
    if first == second:
        raise ValueError(f"`elements` must be two different ones; they are {elements}.")
    mass = {one.symbol.upper(): float(one.atomic_mass) for one in (first, second)}
    write_atomically(path, "\n".join([*_comments(fit, list(mass)), *_lines(fit, mass)]) + "\n")


def _comments(fit: OrderedFccFit, names: list[str]) -> list[str]:
    first, second = names
    kelvin = ", ".join(f"{t:g}" for t in fit.temperatures)
    lines = [
        f"Fcc {first}-{second} with L12 order, written by scalebridge {version('scalebridge')}:",
        f"a learned free energy in the CALPHAD form, fitted at {kelvin} K.",
        f"Misfit of f {fit.error_f * 1e3:.3g} meV/site, of its slopes {fit.error_mu * 1e3:.3g}.",
        "GHSER of both elements is zero: put real ones in place before merging.",
    ]
    if len(fit.temperatures) == 1:
        lines.append("Every parameter is a constant: use no other temperature.")
    lines += [
        f"Tie-line at {line.temperature:g} K, x({second}): learned {line.given[0]:.5f} "
        f"{line.given[1]:.5f}, here {line.fitted[0]:.5f} {line.fitted[1]:.5f}"
        for line in fit.lines
    ]
    return [f"$ {line}" for line in lines]


def _lines(fit: OrderedFccFit, mass: dict[str, float]) -> list[str]:
    first, second = mass
    both, pair = sorted(mass), ",".join(sorted(mass))
    sign = 1 if second < first else -1
    low, high = RANGE
    lines = [" ELEMENT /-   ELECTRON_GAS  0.0  0.0  0.0 !", " ELEMENT VA   VACUUM  0.0  0.0  0.0 !"]
    lines += [f" ELEMENT {name:4} FCC_A1  {mass[name]:.6g}  0.0  0.0 !" for name in both]
    lines += [f" FUNCTION GHSER{name} {low} 0.0; {high} N !" for name in both]
    lines += [
        " TYPE_DEFINITION % SEQ * !",
        " DEFINE_SYSTEM_DEFAULT ELEMENT 2 !",
        " DEFAULT_COMMAND DEF_SYS_ELEMENT VA /- !",
        " TYPE_DEFINITION A GES A_P_D FCC_A1 MAGNETIC -3.0 0.28 !",
        " PHASE FCC_A1 %A 2 1 1 !",
        f" CONSTITUENT FCC_A1 :{pair} : VA : !",
        *_solution(fit, first, second, pair, sign),
        " TYPE_DEFINITION B GES A_P_D FCC_L12 DIS_PART FCC_A1 ,,, !",
        " TYPE_DEFINITION C GES A_P_D FCC_L12 MAGNETIC -3.0 0.28 !",
        " PHASE FCC_L12 %BC 3 .75 .25 1 !",
        f" CONSTITUENT FCC_L12 :{pair} : {pair} : VA : !",
        *_ordering(fit, first, second, pair, sign),
    ]
    return lines


def _solution(fit: OrderedFccFit, first: str, second: str, pair: str, sign: int) -> list[str]:
    """A database's series has powers of the difference of its constituents, in their order."""
    lines = [
        _parameter("FCC_A1", f"{first}:VA", 0, (0.0, 0.0), f"+GHSER{first}#"),
        _parameter("FCC_A1", f"{second}:VA", 0, fit.parameters["G"], f"+GHSER{second}#"),
    ]
    for k in range(fit.form.solution):
        value = _combined((sign**k, fit.parameters[f"L{k}"]))
        lines.append(_parameter("FCC_A1", f"{pair}:VA", k, value))
    return lines


def _ordering(fit: OrderedFccFit, first: str, second: str, pair: str, sign: int) -> list[str]:
    """Two sublattices (a, a, a | b) of the four: Dupin, Ansara & Sundman (2001, table 2)."""
    none: Line = (0.0, 0.0)
    e = [none, *(fit.parameters[f"E{n}"] for n in (1, 2, 3)), none]
    ends = ((first, first, 0), (first, second, 1), (second, first, 3), (second, second, 4))
    lines = [_parameter("FCC_L12", f"{a}:{b}:VA", 0, e[n]) for a, b, n in ends]
    for n, b in enumerate((first, second)):
        even = _combined((1.5, e[n + 1]), (1.5, e[n + 2]), (-1.5, e[n]), (-1.5, e[n + 3]))
        odd = _combined((1.5, e[n + 2]), (-1.5, e[n + 1]), (0.5, e[n]), (-0.5, e[n + 3]))
        lines.append(_parameter("FCC_L12", f"{pair}:{b}:VA", 0, even))
        lines.append(_parameter("FCC_L12", f"{pair}:{b}:VA", 1, _combined((sign, odd))))
    for k in range(1, fit.form.reciprocal + 1):
        for sites, share in ((f"*:{pair}:VA", 1), (f"{pair}:*:VA", 3)):
            value = _combined((share * sign**k, fit.parameters[f"R{k}"]))
            lines.append(_parameter("FCC_L12", sites, k, value))
    return lines


def _combined(*parts: tuple[float, Line]) -> Line:
    return sum(c * a for c, (a, _) in parts), sum(c * b for c, (_, b) in parts)


def _parameter(phase: str, sites: str, order: int, value: Line, function: str = "") -> str:
    low, high = RANGE
    a, b = value
    return (
        f" PARAMETER G({phase},{sites};{order}) {low}\n"
        f"   {a:+.12E}{b:+.12E}*T{function}; {high} N !"
    )
