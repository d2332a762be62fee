"""Trajectories as VTK image data for ParaView: a .vti file per frame and a .pvd that lists them."""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from idnn.files import write_atomically

TYPES = {"f4": "Float32", "f8": "Float64", "u1": "UInt8", "i4": "Int32"}


@dataclass(frozen=True, eq=False)
class CellArray:
    """A quantity on all cells.

    Attributes:
        name: of the array.
        values: [x[, y[, z]]], of a type in `TYPES`.
        unit: kept as VTK's `UNITS_LABEL`.
        meaning: of the values, as a comment.
    """

    name: str
    values: np.ndarray
    unit: str = "1"
    meaning: str = ""


def write_image(
    path: Path, spacing: float, arrays: Sequence[CellArray], *, time: float, about: str
) -> None:
    """Cell data on a regular grid as an XML image-data file (VTK file formats, section ImageData).

    Args:
        path: file to write.
        spacing: edge of a cell, nm.
        arrays: at least one.
        time: of the frame, which readers show as its time step.
        about: units of length and time, as a comment.
    """
    shape = arrays[0].values.shape
    extent = " ".join(f"0 {n}" for n in (*shape, *[1] * (3 - len(shape))))
    moment = base64.b64encode(struct.pack("<Qd", 8, time)).decode()
    data = "\n".join(_data_array(array) for array in arrays)
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- {_comment(about)} -->
<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">
<ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="{spacing} {spacing} {spacing}">
<FieldData>
<DataArray type="Float64" Name="TimeValue" NumberOfTuples="1" format="binary">{moment}</DataArray>
</FieldData>
<Piece Extent="{extent}">
<CellData Scalars={quoteattr(arrays[0].name)}>
{data}
</CellData>
</Piece>
</ImageData>
</VTKFile>
"""
    write_atomically(path, text)


def write_collection(path: Path, files: Sequence[tuple[float, str]]) -> None:
    """The list of (time, file name) that ParaView opens as one animation."""
    lines = "\n".join(
        f'<DataSet timestep="{time!r}" file={quoteattr(name)}/>' for time, name in files
    )
    text = f"""<?xml version="1.0"?>
<VTKFile type="Collection" version="1.0" byte_order="LittleEndian">
<Collection>
{lines}
</Collection>
</VTKFile>
"""
    write_atomically(path, text)


def _data_array(array: CellArray) -> str:
    """An array with its unit; x runs fastest, as VTK has it."""
    kind = array.values.dtype.str[1:]
    raw = np.asarray(array.values, f"<{kind}").tobytes(order="F")
    encoded = base64.b64encode(struct.pack("<Q", len(raw)) + raw).decode()
    comment = f"<!-- {_comment(array.meaning)} -->\n" if array.meaning else ""
    unit = (  # after the values: readers expect those right behind the opening tag
        f'<InformationKey name="UNITS_LABEL" location="vtkDataArray">{escape(array.unit)}'
        "</InformationKey>"
    )
    tag = f'<DataArray type="{TYPES[kind]}" Name={quoteattr(array.name)} format="binary">'
    return f"{comment}{tag}{encoded}\n{unit}\n</DataArray>"


def _comment(text: str) -> str:
    return text.replace("--", "––")
