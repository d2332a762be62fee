"""Command line: write a trained network in a form that other codes read."""

import argparse
import logging
import sys
from pathlib import Path

import torch

from idnn.checkpoint import load_network
from idnn.export import grid_states, prototype_states, to_numpy, to_table, to_torch_program
from idnn.files import existing
from idnn.network import IntegrableNetwork
from idnn.ordered_fcc_fit import fit_ordered_fcc
from idnn.ordered_fcc_form import OrderedFccForm
from idnn.tdb import to_tdb
from idnn.thermal import ThermalNetwork

DESCRIPTION = """\
Write a trained free energy in a form that other codes read:

  python -m idnn export model.safetensors --as numpy --to gamma_prime.py
  python -m idnn export model.safetensors --as torch --to model.pt2
  python -m idnn export model.safetensors --as table --to model.csv
  python -m idnn export 900K.safetensors 1100K.safetensors --as tdb --to NiAl.tdb \\
      --elements Ni Al

numpy  one Python file with f(eta), mu(eta), hessian(eta) that needs NumPy alone
torch  a torch.export program eta[n, d] -> (f, mu), read back by torch without this package
table  comma-separated text: order parameters, site fractions, f, mu, their spread
tdb    a CALPHAD database with the phases FCC_A1 and FCC_L12, fitted to the network; the misfit
       and the tie-lines of both are printed, and a tie-line that is missed by more than 0.001
       is warned of

Energies are in eV/site, those of a database in J/mol. A model of a range of temperatures needs
--temperature; a database takes several. Bad input ends with one message on stderr and exit
status 2.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        _export(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="python -m idnn",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser = whole.add_subparsers(required=True, metavar="export").add_parser(
        "export",
        help="write a network for another code",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", nargs="+", type=existing, metavar="MODEL", help="file that a campaign wrote")
    add("--as", dest="form", required=True, choices=("numpy", "torch", "table", "tdb"))
    add("--to", required=True, type=Path, metavar="PATH", help="file to write")
    add(
        "--temperature",
        type=float,
        nargs="+",
        metavar="K",
        help="of a model that holds a range of temperatures; several for tdb",
    )
    add("--single", action="store_true", help="torch: single precision instead of double")
    states = parser.add_mutually_exclusive_group()
    states.add_argument(
        "--compositions",
        type=int,
        default=101,
        metavar="N",
        help="table: so many along the disordered line and every ordered one (default 101)",
    )
    states.add_argument(
        "--grid",
        type=int,
        metavar="N",
        help="table: instead, all states with N values of every site fraction",
    )
    add("--elements", nargs=2, metavar=("FIRST", "SECOND"), help="tdb: eta_0 is that of SECOND")
    add(
        "--range",
        type=float,
        nargs=2,
        default=(0.0, 1.0),
        metavar=("LOW", "HIGH"),
        help="tdb: compositions over which the model is known (default 0 1)",
    )
    form = OrderedFccForm()
    for name, what in (("solution", "of the disordered phase"), ("reciprocal", "of ordering")):
        default = getattr(form, name)
        message = f"tdb: terms of the series {what} (default {default})"
        add(f"--{name}", type=int, default=default, metavar="N", help=message)
    return whole


def _export(options: argparse.Namespace) -> None:
    networks = _networks(options)
    if options.form == "tdb":
        _export_tdb(options, networks)
        return
    if len(networks) != 1:
        raise ValueError(
            f"`--as {options.form}` takes one model at one temperature; there are {len(networks)}."
        )
    (network,) = networks
    if options.form == "numpy":
        to_numpy(network, options.to)
    elif options.form == "torch":
        dtype = torch.float32 if options.single else torch.float64
        to_torch_program(network, options.to, dtype=dtype)
    elif options.grid is None:
        states = prototype_states(network.system, compositions=options.compositions)
        to_table(network, states, options.to)
    else:
        to_table(network, grid_states(network.system, levels=options.grid), options.to)
    print(options.to)


def _export_tdb(options: argparse.Namespace, networks: list[IntegrableNetwork]) -> None:
    if options.elements is None:
        raise ValueError("`--elements` must be given for a database, such as `--elements Ni Al`.")
    energies = {network.temperature: network for network in networks}
    if len(energies) < len(networks):
        raise ValueError("`MODEL` must hold each temperature once; two are of the same.")
    if any(network.system != networks[0].system for network in networks):
        raise ValueError("`MODEL` must be files of one crystal; they are not.")
    fit = fit_ordered_fcc(
        energies,
        form=OrderedFccForm(solution=options.solution, reciprocal=options.reciprocal),
        composition=tuple(options.range),
    )
    to_tdb(fit, options.to, tuple(options.elements))
    print(f"misfit of f {fit.error_f * 1e3:.3g}, of mu {fit.error_mu * 1e3:.3g} meV/site")
    for line in fit.lines:
        print(
            f"{line.temperature:g} K: tie-line {line.given[0]:.4f} {line.given[1]:.4f}, "
            f"of the database {line.fitted[0]:.4f} {line.fitted[1]:.4f}"
        )
    print(options.to)


def _networks(options: argparse.Namespace) -> list[IntegrableNetwork]:
    """One per temperature that is asked for."""
    found = []
    for path in options.model:
        network = load_network(path)
        if isinstance(network, ThermalNetwork):
            low, high = network.temperatures
            if options.temperature is None:
                raise ValueError(
                    f"`--temperature` must be given: {path} holds {low:g} to {high:g} K."
                )
            found += [network.at(kelvin) for kelvin in options.temperature]
        elif options.temperature not in (None, [network.temperature]):
            raise ValueError(
                f"`--temperature` must be left out: {path} holds {network.temperature:g} K alone."
            )
        else:
            found.append(network)
    return found


if __name__ == "__main__":
    sys.exit(main())
