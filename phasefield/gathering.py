"""Records of a team: kept whole by its first process, cut again when a run goes on."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from phasefield.adaptive import State
from phasefield.checkpoints import plain, revived
from phasefield.grid import Grid
from phasefield.solve import Record, Recorder


class Gathering:
    """Hands whole records to the recorder of process 0, whose memory must hold them.

    What is kept does not depend on the number of processes, so that any number can continue it.

    Args:
        recorder: keeps whole fields; only that of process 0 is used.
        grid: which the team shares.
    """

    def __init__(self, recorder: Recorder, grid: Grid) -> None:
        self._recorder = recorder
        self._grid = grid

    def restore(self) -> Record | None:
        """The last record, of which each process holds its part; None at the start of a run.

        Raises:
            RuntimeError: process 0 could not read it.
        """
        record, team = None, self._grid.team
        with team.together():
            if team.rank == 0:
                record = self._recorder.restore()
        told = team.tell(None if record is None else _told(record))
        if told is None:
            return None
        known = {name: self._cut(record, name, *of) for name, of in told["tensors"].items()}
        state = revived(told["plain"], known)
        return Record(state, self._grid.inverse(state.u_hat), (), told["wall_s"])

    def append(self, record: Record) -> None:
        """Keep `record`.

        Raises:
            RuntimeError: process 0 could not write it.
        """
        team, slabs = self._grid.team, self._grid.slabs
        u = slabs.gather_cells(record.u)
        whole = {name: slabs.gather_modes(x) for name, x in _tensors(record.state).items()}
        with team.together():
            if team.rank == 0:
                self._recorder.append(replace(record, u=u, state=replace(record.state, **whole)))

    def _cut(self, record: Record | None, name: str, complex_: bool, fields_: int) -> Tensor:
        whole = None if record is None else getattr(record.state, name)
        dtype = self._grid.dtype.to_complex() if complex_ else self._grid.dtype
        shape = (fields_, *self._grid.slabs.local_modes)
        like = torch.empty(shape, dtype=dtype, device=self._grid.device)
        return self._grid.slabs.scatter_modes(whole, like)


def _told(record: Record) -> dict[str, Any]:
    """All of a record but the numbers in its tensors."""
    tensors = _tensors(record.state)
    return {
        "plain": plain(record.state),
        "tensors": {name: (x.is_complex(), len(x)) for name, x in tensors.items()},
        "wall_s": record.wall_s,
    }


def _tensors(state: State) -> dict[str, Tensor]:
    values = {f.name: getattr(state, f.name) for f in fields(State)}
    return {name: x for name, x in values.items() if isinstance(x, Tensor)}
