"""The recorder of a run directory: what it keeps survives the sudden death of the process."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from idnn.files import CannotWrite
from phasefield.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from phasefield.files import (
    RESERVED,
    append_frame,
    append_history,
    create_trajectory,
    cut_trajectory,
)
from phasefield.grid import Grid
from phasefield.measurement import measure
from phasefield.observe import PhaseMap
from phasefield.solve import Record

_log = logging.getLogger(__name__)


class RunRecorder:
    """Keeps records in a run directory; used under `idnn.files.exclusive`.

    A frame, what is measured of it and the steps that led to it are appended to the trajectory
    first; the checkpoint that counts them is renamed into place last. What lies beyond its counts
    is cut off when the run is continued.

    Args:
        directory: of the run.
        grid: of the fields.
        names: of the fields.
        phases: names the phases that are measured.
        attributes: settings, seed and versions, kept with the data.

    Raises:
        ValueError: a field has the name of another array of a trajectory.
    """

    def __init__(
        self,
        directory: Path,
        grid: Grid,
        names: Sequence[str],
        phases: PhaseMap,
        attributes: Mapping[str, Any],
    ) -> None:
        for name in names:
            if name in RESERVED:
                raise ValueError(
                    f"`names` must not hold {name!r}, which is another array of a trajectory; "
                    "rename the field."
                )
        self._directory = directory
        self._grid = grid.whole
        self._device, self._processes = grid.device.type, grid.team.size
        self._names = tuple(names)
        self._phases = phases
        self._attributes = {"fields": list(names), "phases": list(phases.labels), **attributes}
        self._frames = 0
        self._rows = 0

    def restore(self) -> Record | None:
        """The last record, with everything younger removed; None if there is none.

        Raises:
            DamagedRun: the checkpoint or the trajectory is damaged.
        """
        checkpoint = read_checkpoint(self._directory, self._grid.device)
        if checkpoint is None:
            return None
        cut_trajectory(self._directory, checkpoint.frames, checkpoint.rows)
        self._frames, self._rows = checkpoint.frames, checkpoint.rows
        if checkpoint.arithmetic != self._arithmetic:
            _log.warning(
                "This run was begun with %s and continues with %s: the results will agree to "
                "the tolerance, not to the bit.",
                checkpoint.arithmetic,
                self._arithmetic,
            )
        state = checkpoint.state
        return Record(state, self._grid.inverse(state.u_hat), (), checkpoint.wall_s)

    def append(self, record: Record) -> None:
        """Keep `record`.

        Raises:
            CannotWrite: the disk is full or not writable; nothing recorded before is lost.
        """
        measured = measure(self._grid, record.u, self._phases)
        rows = [observation.row(self._names) for observation in record.observations]
        try:
            if self._frames == 0:
                create_trajectory(
                    self._directory,
                    self._grid,
                    self._names,
                    list(rows[0]),
                    measured,
                    self._attributes,
                )
            append_frame(
                self._directory, self._frames, record.state.time, self._names, record.u, measured
            )
            append_history(self._directory, self._rows, rows)
            self._frames, self._rows = self._frames + 1, self._rows + len(rows)
            write_checkpoint(self._directory, self._checkpoint(record))
        except OSError as error:
            raise CannotWrite(
                f"`output`: {self._directory} cannot be written at t = {record.state.time:g} "
                f"({error.strerror or error}). What was recorded before is intact: make room, "
                "then repeat the same command."
            ) from error

    def _checkpoint(self, record: Record) -> Checkpoint:
        return Checkpoint(record.state, self._frames, self._rows, record.wall_s, self._arithmetic)

    @property
    def _arithmetic(self) -> str:
        where, threads = self._device, torch.get_num_threads()
        arithmetic = f"torch {torch.__version__} on {where} with {threads} threads per operation"
        many = f" in {self._processes} processes" if self._processes > 1 else ""
        return arithmetic + many
