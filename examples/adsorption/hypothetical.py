"""Build hypothetical frameworks with PORMAKE and write them as CIF files into a folder.

PORMAKE (Lee et al. 2021, doi:10.1021/acsami.1c02471) puts building blocks on the nodes and edges
of a net. It is no dependency of ours, and brings JAX (some 400 MB): `pip install pormake==0.2.3`.

    python examples/adsorption/hypothetical.py runs/mofs
    python -m sampling.adsorption runs/mofs --output runs/mofs.csv
    python -m idnn.adsorption predict runs/mofs --model examples/adsorption/methane.safetensors

Geometries are not relaxed: other blocks may leave contacts too short. No charges are written.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from idnn.files import write_atomically

FRAMEWORKS = (
    ("pcu", "N16", "E14"),
    ("pcu", "N16", "E19"),
    ("pcu", "N16", "E41"),
    ("nbo", "N17", "E14"),
    ("dia", "N3", "E14"),
)
"""Net, block on its nodes, block on its edges, by the names of PORMAKE's data base."""


def pormake() -> Any:  # noqa: ANN401
    """The package, without its log: a file it opens in the folder where it is imported."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        try:
            import pormake  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ValueError(
                f"`pormake` must be installed; it is not ({error}): pip install pormake==0.2.3"
            ) from None
        logging.getLogger("unique_logger").handlers = [logging.NullHandler()]
    return pormake


def cif(package: Any, net: str, node: str, edge: str) -> str:  # noqa: ANN401
    """The framework of a net with one kind of node and one of edges."""
    base = package.Database()
    # The data base would write a cache into the installed package.
    topology = package.Topology(base.topo_dir / f"{net}.cgd")
    nodes = {int(kind): base.get_bb(node) for kind in topology.unique_node_types}
    edges = {tuple(map(int, kind)): base.get_bb(edge) for kind in topology.unique_edge_types}
    text = io.BytesIO()
    package.Builder().build_by_type(topology, nodes, edges).atoms.write(text, format="cif")
    return text.getvalue().decode()


def main() -> int:
    """Write the files; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to write the CIF files")
    folder = parser.parse_args().folder
    try:
        package = pormake()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    for net, node, edge in FRAMEWORKS:
        path = folder / f"{net}_{node}_{edge}.cif"
        write_atomically(path, cif(package, net, node, edge))
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
