"""Range, finiteness and shape checks: one wording for every error about bad numbers."""

import torch
from torch import Tensor


def require_in_range(name: str, value: Tensor | float, low: float, high: float) -> None:
    """Raise `ValueError` unless every entry of `value` lies in [low, high]; NaN fails."""
    x = torch.as_tensor(value, dtype=torch.float64)
    _require(name, x, (x >= low) & (x <= high), f"must lie in [{low:g}, {high:g}]")


def require_positive(name: str, value: Tensor | float) -> None:
    """Raise `ValueError` unless every entry of `value` is finite and above zero."""
    x = torch.as_tensor(value, dtype=torch.float64)
    _require(name, x, x.isfinite() & (x > 0), "must be finite and positive")


def require_finite(name: str, value: Tensor | float) -> None:
    """Raise `ValueError` unless every entry of `value` is finite."""
    x = torch.as_tensor(value, dtype=torch.float64)
    _require(name, x, x.isfinite(), "must be finite")


def require_shape(name: str, value: Tensor, shape: tuple[int | None, ...]) -> None:
    """Raise `ValueError` unless `value` has `shape`; None stands for any length."""
    good = value.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(value.shape, shape, strict=True)
    )
    if not good:
        want = tuple("any" if n is None else n for n in shape)
        raise ValueError(f"`{name}` must have shape {want}; it has {tuple(value.shape)}.")


def _require(name: str, x: Tensor, good: Tensor, rule: str) -> None:
    bad = ~good.flatten()
    if not bad.any():
        return
    if x.ndim == 0:
        raise ValueError(f"`{name}` {rule}; it is {float(x):.6g}.")
    i = int(bad.nonzero()[0])
    raise ValueError(
        f"`{name}` {rule}: {int(bad.sum())} of {x.numel()} entries do not; "
        f"the first, at flat index {i}, is {float(x.flatten()[i]):.6g}."
    )
