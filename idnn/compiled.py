"""A committee's mean f and ∂f/∂η as one compiled pass over cells, a block of them at a time.

A block's numbers, from the monomials of the invariants to the slopes of the layers, stay in the
nearest caches; every row of its arrays is one number of all its cells. All is in float64, whatever
the type of the cells.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Shaped

from idnn import vectors
from idnn.tables import NUMBERS, Tables, tables
from idnn.vectors import BLOCK, OUTPUTS, compiled, dense, inlined, widest

if TYPE_CHECKING:
    from idnn.network import IntegrableNetwork

GELU, LOGCOSH, SOFTPLUS = (NUMBERS[name] for name in ("gelu", "logcosh", "softplus"))


@dataclass(frozen=True, eq=False)
class CompiledNetwork:
    """Passes of a committee's mean.

    Attributes:
        tables: what is passed over.
    """

    tables: Tables

    def sweep(
        self, u: Shaped[np.ndarray, "d cell"], s: Float[np.ndarray, " d"], start: int, stop: int
    ) -> tuple[float, float]:
        """Σf and Σ|f| of cells `start` to `stop`, where ∂f/∂uᵢ − sᵢuᵢ takes the place of uᵢ."""
        return _sweep(self.tables, u, s, start, stop)

    def evaluate(
        self, eta: Shaped[np.ndarray, "d row"], threads: int = 1
    ) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, "d row"]]:
        """f and ∂f/∂η; each thread takes as many rows."""
        rows = eta.shape[1]
        f, slopes = np.empty(rows), np.empty(eta.shape)
        ends = [rows * n // threads for n in range(threads + 1)]
        with ThreadPoolExecutor(threads) as workers:
            list(workers.map(partial(_evaluate, self.tables, eta, f, slopes), ends[:-1], ends[1:]))
        return f, slopes


def compiled_network(network: IntegrableNetwork) -> CompiledNetwork:
    """The mean of the committee as it is now.

    Raises:
        ValueError: the floor of its ideal reference is 0, where f ends.
    """
    if network.settings.floor == 0:
        raise ValueError("`floor` must be positive for compiled passes; it is 0.")
    all_but_pure = tables(network)
    (pure,), _ = CompiledNetwork(all_but_pure).evaluate(np.zeros((network.system.q.shape[0], 1)))
    return CompiledNetwork(all_but_pure._replace(pure=float(pure)))


class Block(NamedTuple):
    """Numbers of the cells of one block; made once in a pass.

    Attributes:
        known: η and the products.
        sums: h and its slopes.
        a: activations of all layers and members; on the way back ∂g/∂a of one layer, or ∂g/∂h.
        slopes: of the activations; on the way back times ∂g/∂a.
        fractions: of the sublattices, x.
        by_fraction: ∂f/∂x of ideal mixing, in units of k_BT/S.
        zero: a bias.
        f: of every cell.
        mu: ∂f/∂η.
    """

    known: np.ndarray
    sums: np.ndarray
    a: np.ndarray
    slopes: np.ndarray
    fractions: np.ndarray
    by_fraction: np.ndarray
    zero: np.ndarray
    f: np.ndarray
    mu: np.ndarray


@compiled
@no_type_check
def _block(t: Tables, d: int) -> Block:
    widest_layer, units = t.widths.max() * t.members, t.widths.sum() * t.members
    sublattices = len(t.fractions) // d
    return Block(
        np.zeros((d + len(t.products), BLOCK)),
        np.zeros((len(t.constants), BLOCK)),
        np.zeros((max(units, len(t.constants) + OUTPUTS), BLOCK)),
        np.zeros((units, BLOCK)),
        np.zeros((sublattices, BLOCK)),
        np.zeros((sublattices, BLOCK)),
        np.zeros(max(widest_layer, len(t.constants) + OUTPUTS, sublattices, d + OUTPUTS)),
        np.zeros(BLOCK),
        np.zeros((d + OUTPUTS, BLOCK)),
    )


@compiled
@no_type_check
def _sweep(t: Tables, u: np.ndarray, s: np.ndarray, start: int, stop: int) -> tuple[float, float]:
    widest()
    d = len(u)
    block = _block(t, d)
    total, size = np.zeros(BLOCK), np.zeros(BLOCK)
    for first in range(start, stop, BLOCK):
        cells = min(BLOCK, stop - first)
        _load(u, first, cells, block.known)
        _evaluate_block(t, block, d)
        for i in range(d):
            _store(block.mu, s[i], block.known, i, u, first, cells)
        for b in range(np.uintp(cells)):
            total[b] += block.f[b]
            size[b] += abs(block.f[b])
    return total.sum(), size.sum()


@compiled
@no_type_check
def _evaluate(
    t: Tables, eta: np.ndarray, f: np.ndarray, slopes: np.ndarray, start: int, stop: int
) -> None:
    widest()
    d = len(eta)
    block = _block(t, d)
    for first in range(start, stop, BLOCK):
        cells = min(BLOCK, stop - first)
        _load(eta, first, cells, block.known)
        _evaluate_block(t, block, d)
        for i in range(d):
            _store(block.mu, 0.0, block.known, i, slopes, first, cells)
        f[first : first + cells] = block.f[:cells]


@inlined
@no_type_check
def _load(u: np.ndarray, first: int, cells: int, known: np.ndarray) -> None:
    """The cells of a block; the rest of one that is not full stays as it was."""
    widest()
    begin = np.uintp(first)
    for i in range(len(u)):
        for b in range(np.uintp(cells)):
            known[i, b] = u[i, begin + b]


@inlined
@no_type_check
def _store(
    mu: np.ndarray, s: float, known: np.ndarray, i: int, u: np.ndarray, first: int, cells: int
) -> None:
    """μᵢ − s uᵢ of a block's cells."""
    widest()
    begin = np.uintp(first)
    for b in range(np.uintp(cells)):
        u[i, begin + b] = mu[i, b] - s * known[i, b]


@inlined
@no_type_check
def _evaluate_block(t: Tables, block: Block, d: int) -> None:
    """F and ∂f/∂η of the cells whose η are the first rows of `known`."""
    widest()
    _mixing(t, block, d)
    _invariants_and_slopes(t, block, d)
    _network(t, block)
    _add_pulled(t.slopes, block.a, block.sums, len(t.constants) - len(t.slopes), block.mu)


@inlined
@no_type_check
def _add_pulled(
    slopes: np.ndarray, by_invariant: np.ndarray, sums: np.ndarray, first: int, mu: np.ndarray
) -> None:
    """μᵢ += Σ_k ∂g/∂h_k ∂h_k/∂ηᵢ."""
    widest()
    for n in range(len(slopes)):
        i, k, row = slopes[n, 0], slopes[n, 1], first + n
        for b in range(np.uintp(BLOCK)):
            mu[i, b] += by_invariant[k, b] * sums[row, b]


@inlined
@no_type_check
def _mixing(t: Tables, block: Block, d: int) -> None:
    """`IdealMixing` less F(0), and its slope."""
    widest()
    f, fractions, by_fraction = block.f, block.fractions, block.by_fraction
    scale, floor, bend = t.scale, t.floor, 0.5 / t.floor
    dense(t.fractions, block.zero, block.known, fractions, d, len(fractions))
    for b in range(np.uintp(BLOCK)):
        f[b] = -t.pure
    for j in range(t.sublattices):
        for b in range(np.uintp(BLOCK)):
            x = fractions[j, b]
            y = 1.0 - x
            inside, others = max(x, floor), max(y, floor)
            below, beneath = x - inside, y - others
            ln, other_ln = vectors.log(inside), vectors.log(others)
            bent, other_bent = bend * below, bend * beneath
            value = x * ln + below * (1.0 + bent)
            f[b] += scale * (value + y * other_ln + beneath * (1.0 + other_bent))
            by_fraction[j, b] = ln - other_ln + 2.0 * (bent - other_bent)
    dense(
        t.pulled, block.zero, by_fraction, block.mu, t.sublattices, len(t.pulled) // t.sublattices
    )


@inlined
@no_type_check
def _invariants_and_slopes(t: Tables, block: Block, d: int) -> None:
    widest()
    known, sums, products = block.known, block.sums, t.products
    for n in range(len(products)):
        left, right = products[n, 0], products[n, 1]
        for b in range(np.uintp(BLOCK)):
            known[d + n, b] = known[left, b] * known[right, b]
    constants, ends, rows, factors = t.constants, t.ends, t.rows, t.factors
    begin = 0
    for n in range(len(ends)):
        constant = constants[n]
        if begin == ends[n]:
            for b in range(np.uintp(BLOCK)):
                sums[n, b] = constant
        for term in range(begin, ends[n]):
            row, factor = rows[term], factors[term]
            if term == begin:
                for b in range(np.uintp(BLOCK)):
                    sums[n, b] = constant + factor * known[row, b]
            else:
                for b in range(np.uintp(BLOCK)):
                    sums[n, b] += factor * known[row, b]
        begin = ends[n]


@inlined
@no_type_check
def _network(t: Tables, block: Block) -> None:
    """Adds the mean g to `f` and puts ∂g/∂h into `a`."""
    widest()
    members, widths, count = t.members, t.widths, len(t.constants) - len(t.slopes)
    a, slopes = block.a, block.slopes
    units = members * widths[0]
    dense(t.weights, t.biases, block.sums, a, count, units)
    _activate(t.activation, a, slopes, 0, units)
    below, row, weight = 0, units, units * count
    for layer in range(1, len(widths)):
        n_in, n_out = widths[layer - 1], widths[layer]
        for m in range(members):
            inputs, outputs = a[below + m * n_in :], a[row + m * n_out :]
            dense(t.weights[weight:], t.biases[row + m * n_out :], inputs, outputs, n_in, n_out)
            weight += n_in * n_out
        _activate(t.activation, a, slopes, row, members * n_out)
        below, row = row, row + members * n_out
    _add_weighted(t.last, a, below, block.f)
    row, weight = below, 0
    for layer in range(len(widths) - 1, 0, -1):
        n_in, n_out = widths[layer - 1], widths[layer]
        for m in range(members):
            dense(
                t.back[weight:], block.zero, slopes[row + m * n_out :], a[m * n_in :], n_out, n_in
            )
            weight += n_in * n_out
        row -= members * n_in
        _multiply(slopes, row, a, members * n_in)
    dense(t.back[weight:], block.zero, slopes, a, units, (len(t.back) - weight) // units)


@inlined
@no_type_check
def _add_weighted(last: np.ndarray, a: np.ndarray, row: int, f: np.ndarray) -> None:
    """f += Σⱼ lastⱼ aⱼ of as many rows."""
    widest()
    for j in range(0, len(last), OUTPUTS):
        w0, w1, w2, w3 = last[j], last[j + 1], last[j + 2], last[j + 3]
        k = row + j
        for b in range(np.uintp(BLOCK)):
            f[b] += w0 * a[k, b] + w1 * a[k + 1, b] + w2 * a[k + 2, b] + w3 * a[k + 3, b]


@inlined
@no_type_check
def _multiply(slopes: np.ndarray, row: int, back: np.ndarray, rows: int) -> None:
    """Rows of `slopes` from `row` on, times those of `back`."""
    widest()
    x, y = slopes.reshape(slopes.size), back.reshape(back.size)
    begin = np.uintp(row * BLOCK)
    for n in range(np.uintp(rows * BLOCK)):
        x[begin + n] *= y[n]


@inlined
@no_type_check
def _activate(kind: int, a: np.ndarray, slopes: np.ndarray, row: int, rows: int) -> None:
    """Value and slope of the activation in the place of z."""
    widest()
    z, rise = a.reshape(a.size), slopes.reshape(slopes.size)
    begin, end = np.uintp(row * BLOCK), np.uintp((row + rows) * BLOCK)
    if kind == GELU:
        for n in range(begin, end):
            z[n], rise[n] = vectors.gelu(z[n])
    elif kind == LOGCOSH:
        for n in range(begin, end):
            z[n], rise[n] = vectors.logcosh(z[n])
    elif kind == SOFTPLUS:
        for n in range(begin, end):
            z[n], rise[n] = vectors.softplus(z[n])
    else:
        for n in range(begin, end):
            z[n], rise[n] = vectors.squareplus(z[n])
