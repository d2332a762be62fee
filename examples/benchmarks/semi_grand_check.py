"""Check a learned free energy against unbiased sampling it never saw, in a larger box.

At a chemical potential μ the learned f predicts the composition of each phase (its wells) and
which is stable. Here the same expansion is sampled at that μ without any bias.

    python examples/benchmarks/semi_grand_check.py CAMPAIGN_DIRECTORY [--cells 6]
"""

import argparse
import json
from collections import Counter

import numpy as np
import torch

from idnn.checkpoint import load
from idnn.files import existing
from idnn.wells import wells
from sampling.campaign import MODEL, STORE
from sampling.energetics import EXPANSION
from sampling.ensemble import Schedule, sample
from sampling.expansion import ClusterExpansion
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell
from sampling.store import Store


def main() -> None:
    """Print one line of JSON per chemical potential."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=existing)
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--sweeps", type=int, default=4000)
    options = parser.parse_args()
    network = load(options.directory / MODEL)
    system = network.system
    store = Store(options.directory / STORE)
    centre, span = store.rounds()[-1]["mu"], store.identity()["ensemble"]["composition"]
    if centre is None:
        raise SystemExit(f"{options.directory}: the last round found no tie-line to look around.")
    expansion = ClusterExpansion.from_json(options.directory / EXPANSION)
    box = ClusterHamiltonian.on(expansion, Supercell(system, options.cells))
    for mu in np.array([-0.3, -0.1, -0.05, -0.02, 0.02, 0.05, 0.1]) + centre:
        field = np.eye(1, system.dimension) * mu
        samples = sample(
            box,
            Umbrella.semi_grand(system, field),
            temperature=network.temperature,
            schedule=Schedule(walkers=16, sweeps=options.sweeps, burn_in=options.sweeps, stride=4),
            seed=7,
        )
        eta = torch.as_tensor(samples.eta[0].mean(0))
        phases = [system.phase_name(e, order=0.1) for e in eta]
        direct = {
            phase: {
                "x": float(eta[[p == phase for p in phases], 0].mean()),
                "spread": float(eta[[p == phase for p in phases], 0].std(unbiased=False)),
                "walkers": count,
            }
            for phase, count in Counter(phases).items()
        }
        learned = [
            {"phase": w.phase, "x": float(w.eta[0]), "omega_meV": 1e3 * w.omega}
            for w in wells(network, system, float(mu), composition=tuple(span))
        ]
        print(json.dumps({"mu": float(mu), "direct": direct, "learned": learned}), flush=True)


if __name__ == "__main__":
    main()
