"""Stiff problems in batches: seconds, steps and errors, beside other solvers.

    python examples/benchmarks/ode.py [--peers [PYTHON]] [--output DIRECTORY]

Robertson's problem to 10⁵ and POLLU to 60 minutes, each with the constants of the test set and with
128 and 4,096 sets spread about them (log-normal, 0.5 and 0.2), at a relative tolerance of 10⁻⁶;
forward, and the gradient of the sum of all final states over their references by all constants.
`--peers` names an interpreter in which diffrax, scipy and torchdiffeq are installed (this one if it
names none); each of their runs comes between two of ours. Errors are the largest of any component
of any of the first 128 samples, relative, against RODAS5P at a tolerance of 10⁻¹¹. Ratios at equal
error set the fewest seconds of ours, at 10⁻⁶ or 10⁻⁵, whose error is not above the peer's, against
its; those at equal tolerance, ours at 10⁻⁶. Pin all to one core (`taskset -c 0`): XLA takes every
one that it sees, for more work in all. dopri5 of torchdiffeq goes a small part of the way, from
which its time for all of it is extrapolated: its steps no longer grow there.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from idnn.ode import Control, solve
from idnn.ode.problems import StiffProblem, pollu, robertson
from idnn.ode.reactions import MassAction
from idnn.runtime import keep_freed_memory

RESULTS = Path(__file__).parent / "results"
RTOL = 1e-6


@dataclass(frozen=True)
class Case:
    """A problem, how its constants are spread, and the part of the way explicit methods go."""

    name: str
    problem: StiffProblem
    end: float
    part: float
    spread: float
    atol: Tensor

    def constants(self, samples: int) -> Tensor:
        """Rows of k; one alone is the test set's."""
        k = self.problem.parameters
        if samples == 1:
            return k[None]
        noise = np.random.default_rng(1).standard_normal((samples, len(k)))
        return k * torch.tensor(np.exp(self.spread * noise))

    def control(self, rtol: float) -> Control:
        """Tolerances, the absolute ones in proportion."""
        return Control(rtol=rtol, atol=self.atol * (rtol / RTOL), max_steps=100_000)

    def described(self, rtol: float, part: float = 1.0) -> dict:
        """For other codes."""
        f = self.problem.f
        assert isinstance(f, MassAction)
        return {
            "reactants": f.reactants,
            "change": f.change.tolist(),
            "y0": self.problem.y0.tolist(),
            "end": part * self.end,
            "rtol": rtol,
            "atol": (self.atol * (rtol / RTOL)).tolist(),
            "reference": self.problem.references[self.end].tolist(),
        }


def cases() -> list[Case]:
    """Both."""
    atol = torch.tensor([1e-8, 1e-14, 1e-8], dtype=torch.float64)
    least = torch.full((20,), 1e-12, dtype=torch.float64)
    return [
        Case("robertson", robertson(), 1e5, 1e-5, 0.5, atol),
        Case("pollu", pollu(), 60.0, 1e-11, 0.2, least),
    ]


def ours(case: Case, k: Tensor, rtol: float, *, gradient: bool) -> tuple[Tensor, int]:
    """Final states or gradients, and most steps of a sample."""
    p, times = case.problem, torch.tensor([0.0, case.end], dtype=torch.float64)
    k = k.clone().requires_grad_(gradient)
    found = solve(p.f, p.y0, times, k, jacobian=p.jacobian, control=case.control(rtol))
    steps = int((found.steps + found.rejected).max())
    if not gradient:
        return found.y[:, -1], steps
    (found.y[:, -1] / p.references[case.end]).sum().backward()
    assert k.grad is not None
    return k.grad, steps


class Peers:
    """Another interpreter, asked line by line."""

    def __init__(self, python: str) -> None:
        script = Path(__file__).parent / "ode_peers.py"
        self.process = subprocess.Popen(
            [python, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
        self.folder = Path(tempfile.mkdtemp())

    def __call__(self, code: str, case: Case, k: Tensor, *, gradient: bool) -> tuple[dict, Tensor]:
        """Seconds and steps of one run, and what it found."""
        np.save(self.folder / "k.npy", k.numpy())
        request = {
            "code": code,
            "problem": case.described(RTOL, case.part if code.endswith("dopri5") else 1.0),
            "k": str(self.folder / "k.npy"),
            "out": str(self.folder / "y.npy"),
            "gradient": gradient,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{code} is not installed in that interpreter, or failed")
        return json.loads(line), torch.from_numpy(np.load(self.folder / "y.npy"))


def timed(run: Callable[[], tuple[Tensor, int]]) -> tuple[dict, Tensor]:
    """Seconds and steps of one run, and what it found."""
    start, cpu = time.perf_counter(), time.process_time()
    y, steps = run()
    seconds = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
    return seconds | {"steps": steps}, y


def error(found: Tensor, exact: Tensor) -> float:
    """The largest, relative, of the first samples."""
    return float(((found[: len(exact)] - exact) / exact).abs().max())


def best(rows: list[dict]) -> dict:
    """The fewest seconds of each kind."""
    return rows[0] | {key: min(row[key] for row in rows) for key in ("wall_s", "cpu_s")}


def seconds(row: dict) -> float:
    """By the clock on a quiet machine, of the processor on one that is shared."""
    return min(row["wall_s"], row["cpu_s"])


def measure(case: Case, samples: int, peers: Peers | None, *, gradient: bool) -> dict[str, dict]:
    """Every code on one batch, ours between the runs of the others."""
    k, exact = case.constants(samples), None
    if not gradient or samples <= 128:
        exact, _ = ours(case, k[:128], 1e-11, gradient=gradient)
    codes = [] if peers is None else ["diffrax_newton"]
    if peers is not None and samples <= 128 and not gradient:
        codes += ["diffrax", "scipy_LSODA", "scipy_Radau"]
    if peers is not None and samples == 1 and not gradient:
        codes += ["torchdiffeq_Radau", "torchdiffeq_dopri5"]
    out: dict[str, dict] = {}
    for code in ["rodas5p", "rodas5p_1e-5", *codes]:
        rtol = 1e-5 if code.endswith("1e-5") else RTOL
        rows, found, first = [], None, 0.0
        for repeat in range(4 if samples <= 128 else 3):
            if code.startswith("rodas5p"):
                row, found = timed(lambda rtol=rtol: ours(case, k, rtol, gradient=gradient))
            else:
                assert peers is not None
                row, found = peers(code, case, k, gradient=gradient)
                mine, _ = timed(lambda: ours(case, k, RTOL, gradient=gradient))
                out["rodas5p"] = best([out["rodas5p"], mine])
            if repeat == 0:
                first = row["wall_s"]
            else:
                rows.append(row)
            if code.startswith(("scipy", "torchdiffeq")) and repeat == 1:
                break
        assert found is not None
        out[code] = best(rows) | {"first_wall_s": first}
        if code.endswith("dopri5"):
            out[code]["part"], out[code]["whole_cpu_s"] = case.part, out[code]["cpu_s"] / case.part
        elif exact is not None:
            out[code]["max_rel_error"] = error(found, exact)
        what = "gradient" if gradient else "forward"
        print(case.name, samples, what, code, json.dumps(out[code]), flush=True)
    return out


def main() -> None:
    """Measure, print a line for each code and one with the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", nargs="?", const=sys.executable, metavar="PYTHON")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    keep_freed_memory()
    peers = None if o.peers is None else Peers(o.peers)
    found: dict[str, dict[str, dict]] = {}
    for case in cases():
        for samples in (1, 128, 4096):
            found[f"{case.name}_{samples}"] = measure(case, samples, peers, gradient=False)
        for samples in (1, 128):
            name = f"{case.name}_{samples}_gradient"
            found[name] = measure(case, samples, peers, gradient=True)
    machine = {"cpu": platform.processor(), "torch": torch.__version__, "threads": o.threads}
    result: dict[str, float] = {}
    for name, codes in found.items() if peers is not None else ():
        peer, own = codes["diffrax_newton"], [codes["rodas5p"], codes["rodas5p_1e-5"]]
        most = peer.get("max_rel_error", 0.0)
        as_exact = [seconds(row) for row in own if row.get("max_rel_error", 1.0) <= most]
        ratio = seconds(peer) / min(as_exact or [seconds(own[0])])
        result[f"{name}_over_diffrax_newton"] = round(ratio, 2)
        result[f"{name}_at_equal_rtol"] = round(seconds(peer) / seconds(own[0]), 2)
    errors = [c["rodas5p"]["max_rel_error"] for n, c in found.items() if "gradient" not in n]
    result["max_rel_error"] = max(errors)
    o.output.mkdir(parents=True, exist_ok=True)
    kept = {"machine": machine, "cases": found, "result": result}
    (o.output / "ode.json").write_text(json.dumps(kept, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
