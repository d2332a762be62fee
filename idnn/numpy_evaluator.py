"""What `idnn.export.to_numpy` writes: a network in plain NumPy, its numbers appended at the end."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Member = tuple[list[Array], list[Array]]

TEMPERATURE: float  # K
KT: float  # k_B T, eV
FLOOR: float  # site fraction below which x ln x is continued by its quadratic Taylor polynomial
ACTIVATION: str  # a key of ACTIVATIONS
Q_INVERSE: Array  # [sublattice, d]: site fractions x = Q_INVERSE @ eta
EXPONENTS: NDArray[np.int64]  # [term, d]: of the monomials that the invariants consist of
COEFFICIENTS: Array  # [invariant, term]
MEMBERS: list[Member]  # each: weights [in, out] of every layer, biases of all but the last


def f(eta: Array) -> Array:
    """Free energy of eta[..., d], eV/site; zero at eta = 0."""
    rows = _rows(eta)
    return (_energy(rows) - _energy(np.zeros_like(rows[:1]))).reshape(np.shape(eta)[:-1])


def mu(eta: Array) -> Array:
    """Chemical potentials df/d eta of eta[..., d], eV/site."""
    rows = _rows(eta)
    x = rows @ Q_INVERSE.T
    ideal = (_xlogx(x)[1] - _xlogx(1 - x)[1]) @ Q_INVERSE / len(Q_INVERSE)
    slope = np.mean([_layers(_invariants(rows), *member)[1] for member in MEMBERS], axis=0)
    excess = np.einsum("nk,nkd->nd", slope, _jacobian(rows))
    return (KT * (ideal + excess)).reshape(np.shape(eta))


def hessian(eta: Array) -> Array:
    """d2f/d eta2 of eta[..., d], eV/site; [..., d, d]."""
    rows = _rows(eta)
    x = rows @ Q_INVERSE.T
    by_site = (_xlogx(x)[2] + _xlogx(1 - x)[2]) / len(Q_INVERSE)
    ideal = np.einsum("si,ns,sj->nij", Q_INVERSE, by_site, Q_INVERSE)
    h, jacobian = _invariants(rows), _jacobian(rows)
    every = [_layers(h, *member) for member in MEMBERS]
    slope, curvature = (np.mean([each[i] for each in every], axis=0) for i in (1, 2))
    excess = np.einsum("nki,nkl,nlj->nij", jacobian, curvature, jacobian)
    excess += np.einsum("nk,nkij->nij", slope, _second(rows))
    return (KT * (ideal + excess)).reshape(*np.shape(eta), np.shape(eta)[-1])


def _rows(eta: Array) -> Array:
    rows = np.asarray(eta, dtype=float)
    d = EXPONENTS.shape[1]
    if rows.ndim == 0 or rows.shape[-1] != d:
        raise ValueError(f"`eta` must have {d} order parameters last; its shape is {rows.shape}.")
    return rows.reshape(-1, d)


def _energy(rows: Array) -> Array:
    x = rows @ Q_INVERSE.T
    ideal = (_xlogx(x)[0] + _xlogx(1 - x)[0]).mean(-1)
    excess = np.mean([_layers(_invariants(rows), *member)[0] for member in MEMBERS], axis=0)
    return KT * (ideal + excess)


def _xlogx(x: Array) -> tuple[Array, Array, Array]:
    """X ln x, its slope and its curvature, continued below FLOOR."""
    if FLOOR == 0:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(x == 0, 0, x * np.log(x)), 1 + np.log(x), 1 / x
    inside, below = np.maximum(x, FLOOR), np.minimum(x - FLOOR, 0)
    value = inside * np.log(inside) + below * (1 + math.log(FLOOR) + below / (2 * FLOOR))
    return value, 1 + np.log(inside) + below / FLOOR, 1 / inside


def _invariants(rows: Array) -> Array:
    return _monomials(rows, EXPONENTS) @ COEFFICIENTS.T


def _jacobian(rows: Array) -> Array:
    """[row, invariant, d]."""
    columns = [
        _monomials(rows, lowered) @ (COEFFICIENTS * factor).T
        for lowered, factor in (_lowered(EXPONENTS, i) for i in range(rows.shape[1]))
    ]
    return np.stack(columns, axis=-1)


def _second(rows: Array) -> Array:
    """[row, invariant, d, d]."""
    d = rows.shape[1]
    result = np.empty((len(rows), len(COEFFICIENTS), d, d))
    for i in range(d):
        once, first = _lowered(EXPONENTS, i)
        for j in range(d):
            twice, second = _lowered(once, j)
            result[:, :, i, j] = _monomials(rows, twice) @ (COEFFICIENTS * first * second).T
    return result


def _lowered(exponents: NDArray[np.int64], i: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The monomials of the derivative by variable i, and their factors."""
    lowered = exponents.copy()
    lowered[:, i] = np.maximum(exponents[:, i] - 1, 0)
    return lowered, exponents[:, i]


def _monomials(rows: Array, exponents: NDArray[np.int64]) -> Array:
    return np.prod(rows[:, None, :] ** exponents, axis=-1)


def _layers(h: Array, weights: list[Array], biases: list[Array]) -> tuple[Array, Array, Array]:
    """g(h) of one member, its gradient and its Hessian by h."""
    a, slopes, curvatures, tangents = h, [], [], []
    tangent = np.broadcast_to(np.eye(h.shape[1]), (len(h), h.shape[1], h.shape[1]))
    for weight, bias in zip(weights[:-1], biases, strict=True):
        tangent = tangent @ weight
        a, slope, curvature = ACTIVATIONS[ACTIVATION](a @ weight + bias)
        slopes.append(slope)
        curvatures.append(curvature)
        tangents.append(tangent)
        tangent = tangent * slope[:, None, :]
    back = np.broadcast_to(weights[-1].T, a.shape)
    hessian = np.zeros((len(h), h.shape[1], h.shape[1]))
    for i in reversed(range(len(slopes))):
        bent = tangents[i] * (back * curvatures[i])[:, None, :]
        hessian += bent @ tangents[i].transpose(0, 2, 1)
        back = (back * slopes[i]) @ weights[i].T
    return (a @ weights[-1])[:, 0], back, hessian


def _gelu(z: Array) -> tuple[Array, Array, Array]:
    below = 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(z * math.sqrt(0.5)))
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return z * below, below + z * density, density * (2 - z * z)


def _logcosh(z: Array) -> tuple[Array, Array, Array]:
    slope = np.tanh(z)
    return np.logaddexp(z, -z) - math.log(2), slope, 1 - slope * slope


def _softplus(z: Array) -> tuple[Array, Array, Array]:
    slope = np.exp(-np.logaddexp(0, -z))
    return np.logaddexp(0, z), slope, slope * (1 - slope)


def _squareplus(z: Array) -> tuple[Array, Array, Array]:
    root = np.sqrt(z * z + 4)
    value = 0.5 * (z + root)
    return value, value / root, 2 / root**3


ACTIVATIONS = {
    "gelu": _gelu,
    "logcosh": _logcosh,
    "softplus": _softplus,
    "squareplus": _squareplus,
}
