"""How a process computes: package versions, threads and compiler of torch, memory, tiny numbers."""

import ctypes
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from platform import python_version
from types import FunctionType
from typing import Any, TypeVar

import torch

T = TypeVar("T")

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGE = 1 << 30


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of `packages`, to be kept with what they compute."""
    return {"python": python_version()} | {name: version(name) for name in packages}


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 1 GiB for the next tensor instead of returning them.

    By default every temporary above 128 KiB may be mapped anew and page-faulted in, which takes
    longer than the arithmetic in it: evaluating a committee on 65,536 points took 0.33 s with and
    0.12 s without. Only an application should call this; it does nothing on other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, _LARGE)


@cache
def compiled_by_torch(
    function: Callable, *kind: Hashable, any_size: bool = True
) -> Callable[..., Any]:
    """`function`, compiled by torch when first called, for arguments of one kind.

    Each kind is compiled as code of its own, for torch goes back to running code as it is once it
    has compiled it eight times. It holds for any size, or for one that is part of the kind.
    """
    assert isinstance(function, FunctionType)
    code = function.__code__.replace(co_name=f"{function.__name__}_{len(kind)}")
    own = FunctionType(code, function.__globals__, closure=function.__closure__)
    return torch.compile(own, dynamic=any_size)


def in_threads(job: Callable[[int], T], items: Iterable[int], threads: int) -> list[T]:
    """Each item's result, in order, several at a time where compiled code frees the interpreter."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(job, items))


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch to one thread where the work is spread over threads or processes already."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def subnormal_numbers_as_zero() -> Iterator[None]:
    """Let this thread, and those begun in it meanwhile, round numbers below 10⁻³⁰⁸ to zero.

    A field that dies out comes to such numbers, and a CPU takes ten times as long for them: with
    two of the five fields of PFHub 2a gone, an evaluation took 6.4 ms with and 0.86 ms without.
    """
    before = bool(torch.tensor(5e-324, dtype=torch.float64) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
