"""Other solvers on the problems of `ode.py`, one request a line; started by it in any interpreter.

A request is JSON with `code`, `problem` (reactions, start, end, tolerances), `k` (a file with a row
of constants for each sample), `out` (a file for what is found) and `gradient`; the answer has the
seconds and steps.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import cache

import numpy as np


def reaction_terms(problem: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two reactants of each reaction (n for none) and the change of all species by each."""
    reactants, change = problem["reactants"], np.array(problem["change"])
    n = change.shape[1]
    pairs = np.array([[*each, n][:2] for each in reactants])
    return pairs[:, 0], pairs[:, 1], change


@cache
def _diffrax(text: str, code: str, gradient: bool) -> Callable[[np.ndarray], tuple]:
    import diffrax  # pyright: ignore[reportMissingImports]
    import jax  # pyright: ignore[reportMissingImports]
    import jax.numpy as jnp  # pyright: ignore[reportMissingImports]
    import optimistix  # pyright: ignore[reportMissingImports]

    jax.config.update("jax_enable_x64", True)
    problem = json.loads(text)
    one, two, change = reaction_terms(problem)
    y0, atol = jnp.array(problem["y0"]), jnp.array(problem["atol"])

    def f(t: object, y: jax.Array, k: jax.Array) -> jax.Array:
        del t
        padded = jnp.append(y, 1.0)
        return (k * padded[one] * padded[two]) @ change

    newton = {"root_finder": optimistix.Newton(rtol=1e-6, atol=1e-9)} if "newton" in code else {}

    def run(k: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(f),
            diffrax.Kvaerno5(**newton),
            0.0,
            problem["end"],
            None,
            y0,
            k,
            stepsize_controller=diffrax.PIDController(rtol=problem["rtol"], atol=atol),
            max_steps=4096 if gradient else 100_000,
        )
        assert found.ys is not None
        return found.ys[-1], found.stats["num_steps"]

    if gradient:
        scale = jnp.array(problem["reference"])
        slope = jax.grad(lambda k: jnp.sum(run(k)[0] / scale))
        compiled = jax.jit(jax.vmap(lambda k: (slope(k), 0)))
    else:
        compiled = jax.jit(jax.vmap(run))
    return lambda k: tuple(np.asarray(jax.block_until_ready(x)) for x in compiled(jnp.array(k)))


def _scipy(text: str, code: str, gradient: bool) -> Callable[[np.ndarray], tuple]:
    from scipy.integrate import solve_ivp

    assert not gradient
    problem = json.loads(text)
    one, two, change = reaction_terms(problem)
    n = change.shape[1]

    def f(t: float, y: np.ndarray, k: np.ndarray) -> np.ndarray:
        del t
        padded = np.append(y, 1.0)
        return (k * padded[one] * padded[two]) @ change

    def jacobian(t: float, y: np.ndarray, k: np.ndarray) -> np.ndarray:
        del t
        padded, rates = np.append(y, 1.0), np.zeros((len(k), n + 1))
        every = np.arange(len(k))
        rates[every, one] += k * padded[two]
        rates[every, two] += k * padded[one]
        return change.T @ rates[:, :n]

    def run(k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [
            solve_ivp(
                f, (0.0, problem["end"]), problem["y0"], code.split("_")[1], jac=jacobian,
                rtol=problem["rtol"], atol=problem["atol"], args=(each,),
            )
            for each in k
        ]  # fmt: skip
        return np.array([x.y[:, -1] for x in found]), np.array([len(x.t) - 1 for x in found])

    return run


def _torchdiffeq(text: str, code: str, gradient: bool) -> Callable[[np.ndarray], tuple]:
    """Its only adaptive stiff method is scipy's; dopri5 goes a part of the way. One sample."""
    import torch
    import torchdiffeq  # pyright: ignore[reportMissingImports]

    assert not gradient
    torch.set_num_threads(1)
    problem = json.loads(text)
    one, two, change = (torch.from_numpy(x) for x in reaction_terms(problem))
    y0 = torch.tensor(problem["y0"], dtype=torch.float64)
    times = torch.tensor([0.0, problem["end"]], dtype=torch.float64)
    method = {"method": "dopri5"}
    if "Radau" in code:
        method = {"method": "scipy_solver", "options": {"solver": "Radau"}}

    def run(k: np.ndarray) -> tuple[np.ndarray, int]:
        rates, evaluations = torch.from_numpy(k[0]), 0

        def f(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            nonlocal evaluations
            del t
            evaluations += 1
            padded = torch.cat([y, torch.ones_like(y[:1])])
            return (rates * padded[one] * padded[two]) @ change

        # its way to scipy takes one absolute tolerance
        atol = torch.tensor(problem["atol"]) if "dopri5" in code else min(problem["atol"])
        y = torchdiffeq.odeint(f, y0, times, rtol=problem["rtol"], atol=atol, **method)
        return y[-1:].numpy(), evaluations

    return run


CODES = {"diffrax": _diffrax, "scipy": _scipy, "torchdiffeq": _torchdiffeq}


def answer(request: dict) -> dict:
    """Run one request twice, so that compiling is told apart."""
    make = CODES[request["code"].split("_")[0]]
    run = make(json.dumps(request["problem"]), request["code"], request["gradient"])
    k = np.load(request["k"])
    start, cpu = time.perf_counter(), time.process_time()
    y, steps = run(k)
    seconds = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
    np.save(request["out"], y)
    return seconds | {"steps": int(np.max(steps))}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
