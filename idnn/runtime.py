"""How a process computes: package versions, threads inside torch, memory that torch frees."""

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from platform import python_version

import torch

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


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch to one thread where the work is spread over threads or processes already."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
