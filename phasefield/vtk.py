"""Trajectories as VTK image data for ParaView: a .vti file per frame and a .pvd that lists them."""

import base64
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from idnn.files import write_atomically


def write_image(path: Path, spacing: float, arrays: Mapping[str, np.ndarray]) -> None:
    """Cell data on a regular grid as an XML image-data file (VTK file formats, section ImageData).

    Args:
        path: file to write.
        spacing: edge of a cell, nm.
        arrays: name → values [x[, y[, z]]], float32.
    """
    shape = next(iter(arrays.values())).shape
    extent = " ".join(f"0 {n}" for n in (*shape, *[1] * (3 - len(shape))))
    data = "\n".join(
        f'<DataArray type="Float32" Name={quoteattr(name)} format="binary">{_encoded(values)}'
        "</DataArray>"
        for name, values in arrays.items()
    )
    text = f"""<?xml version="1.0"?>
<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">
<ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="{spacing} {spacing} {spacing}">
<Piece Extent="{extent}">
<CellData>
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


def _encoded(values: np.ndarray) -> str:
    """Length and values in base64; x runs fastest, as VTK has it."""
    raw = np.asarray(values, "<f4").tobytes(order="F")
    return base64.b64encode(struct.pack("<Q", len(raw)) + raw).decode()
