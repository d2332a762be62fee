"""The processes that share one grid: what they add up, exchange and tell each other.

All of torch.distributed is here. Tensors on CPUs travel by gloo, those on GPUs by NCCL.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from jaxtyping import Num, Shaped
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

KINDS = (ValueError, TypeError, OSError, RuntimeError)
"""What an error on another process is raised as: the first of these that it is."""


@runtime_checkable
class Counter(Protocol):
    """Adds up what all processes add; a store of torch.distributed does."""

    def add(self, key: str, amount: int, /) -> int: ...


@dataclass(frozen=True, eq=False)
class Team:
    """Processes that work on one grid; all make the same calls in the same order.

    Each holds one copy on its own: the default is a process alone, for which every method is free.

    Attributes:
        rank: number of this process.
        size: how many there are.
        local_rank: number of this process among those of its machine.
        local_size: how many those are.
        group: connects them; None: the default group of torch.distributed.
        store: what all of them can reach, even when one has failed.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    group: "dist.ProcessGroup | None" = None
    store: Counter | None = None

    def sum(self, x: Num[Tensor, "*any"]) -> Num[Tensor, "*any"]:
        """Entry by entry over the processes, with the same bits on each."""
        return x if self.size == 1 else self._reduced(x, dist.ReduceOp.SUM)

    def max(self, x: Num[Tensor, "*any"]) -> Num[Tensor, "*any"]:
        """Likewise the largest; NaN where any process has NaN, which gloo alone would lose."""
        if self.size == 1:
            return x
        wrong = x.isnan()
        both = torch.stack([x.masked_fill(wrong, 0), wrong.to(x.dtype)])
        most, wrong = self._reduced(both, dist.ReduceOp.MAX)
        return most.masked_fill(wrong > 0, torch.nan) if x.is_floating_point() else most

    def recut(
        self,
        x: Shaped[Tensor, "..."],
        axis: int,
        parts: Sequence[int],
        joined: int,
        lengths: Sequence[int],
    ) -> Shaped[Tensor, "..."]:
        """A field cut along `joined` into `lengths`, cut anew along `axis` into `parts`.

        One all-to-all: every process sends all of its entries but the share that stays.
        """
        pieces = x.split(list(parts), dim=axis)
        shape = [*pieces[self.rank].shape]
        shape[joined] = sum(lengths)
        result = x.new_empty(shape)
        slots = result.split(list(lengths), dim=joined)
        send, received = x.new_empty(x.numel()), x.new_empty(result.numel())
        counts, sent = [slot.numel() for slot in slots], [piece.numel() for piece in pieces]
        for piece, flat in zip(pieces, send.split(sent), strict=True):
            flat.view(piece.shape).copy_(piece)
        numbers = 2 if x.is_complex() else 1
        dist.all_to_all_single(
            _as_real(received).view(-1), _as_real(send).view(-1),
            [numbers * count for count in counts], [numbers * count for count in sent],
            group=self.group,
        )  # fmt: skip
        for slot, flat in zip(slots, received.split(counts), strict=True):
            slot.copy_(flat.view(slot.shape))
        return result

    def gather(
        self, x: Shaped[Tensor, "..."], axis: int, lengths: Sequence[int]
    ) -> Shaped[Tensor, "..."] | None:
        """The whole of a field cut along `axis`, on the CPU of process 0; None on the others."""
        x = x.cpu()
        if self.rank != 0:
            dist.send(_as_real(x).contiguous(), 0, group=self.group)
            return None
        shape = [*x.shape]
        shape[axis] = sum(lengths)
        whole = x.new_empty(shape)
        for source, part in enumerate(whole.split(list(lengths), dim=axis)):
            part.copy_(x if source == 0 else self._receive(x, part.shape, source))
        return whole

    def scatter(
        self,
        whole: Shaped[Tensor, "..."] | None,
        axis: int,
        lengths: Sequence[int],
        like: Shaped[Tensor, "..."],
    ) -> Shaped[Tensor, "..."]:
        """The inverse of `gather`; `like` has the shape, type and device of the own part."""
        if whole is None:
            return self._receive(like.cpu(), like.shape, 0).to(like.device)
        own, *others = whole.split(list(lengths), dim=axis)
        for target, part in enumerate(others, start=1):
            dist.send(_as_real(part.contiguous()), target, group=self.group)
        return own.contiguous().to(like.device)

    def tell(self, value: Any, source: int = 0) -> Any:  # noqa: ANN401
        """`value` of process `source`, on all; it travels as JSON, which cannot execute code."""
        if self.size == 1:
            return value
        text = json.dumps(value).encode() if self.rank == source else b""
        length = torch.tensor(len(text))
        dist.broadcast(length, source, group=self.group)
        letters = torch.empty(int(length), dtype=torch.uint8)
        if text:
            letters.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        dist.broadcast(letters, source, group=self.group)
        return json.loads(letters.numpy().tobytes())

    @contextmanager
    def together(self) -> Iterator[None]:
        """What fails on one process within the block fails on all, with the same message.

        The block must not communicate after what may fail. The others wait at its end.
        """
        failed: Exception | None = None
        try:
            yield
        except Exception as error:
            if self.size == 1:
                raise
            failed = error
        if self.size == 1:
            return
        first = -int(self.max(torch.tensor(-self.size if failed is None else -self.rank)))
        if first == self.size:
            return
        own = failed or RuntimeError()
        kind = next((i for i, kind in enumerate(KINDS) if isinstance(own, kind)), len(KINDS) - 1)
        kind, message = self.tell([kind, str(own)], first)
        raise own if self.rank == first else KINDS[kind](message)

    def speaks(self) -> bool:
        """Whether this process is the first to ask, and so the one that tells the user."""
        if self.store is None:
            return self.rank == 0
        try:
            return self.store.add("scalebridge/spoken", 1) == 1
        except RuntimeError:  # whoever kept the store is gone
            return True

    def leave(self) -> None:
        """End a team made by `join`; not after an error, when others may no longer answer."""
        if self.size > 1:
            dist.destroy_process_group()

    def _reduced(self, x: Tensor, operation: Any) -> Tensor:  # noqa: ANN401
        result = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(result, operation, group=self.group)
        return result

    def _receive(self, like: Tensor, shape: Sequence[int], source: int) -> Tensor:
        numbers = _as_real(like.new_empty(list(shape)))
        dist.recv(numbers, source, group=self.group)
        return torch.view_as_complex(numbers) if like.is_complex() else numbers


ALONE = Team()
"""A process on its own."""


def join() -> Team:
    """The team of the processes that torchrun started with this one; `ALONE` without it.

    Reads RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Where every
    process of the machine has a GPU, the one of its number becomes torch's current one.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    store, rank, size = next(rendezvous("env://"))
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    team = Team(rank, size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", size)), store=store)
    gpus = torch.cuda.is_available() and torch.cuda.device_count() >= team.local_size
    if gpus:
        torch.cuda.set_device(local_rank)
    backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    return team


def shares(n: int, size: int) -> list[int]:
    """`n` planes dealt out to `size` processes; the first ones hold one more if need be."""
    return [n // size + (rank < n % size) for rank in range(size)]


def _as_real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x
