"""Methane in crystals of two zeolites, predicted by the model that comes along."""

from pathlib import Path

from idnn.adsorption.cif import read_library
from idnn.adsorption.files import load_model

model = load_model("examples/adsorption/methane.safetensors")
found = model.predict(read_library(Path("tests/data/adsorption")).crystals)
for name, values, errors in zip(found.names, found.values, found.stderr, strict=True):
    print(name, dict(zip(found.targets, values.round(3), strict=True)), "±", errors.round(3))
