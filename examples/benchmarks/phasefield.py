"""Runs the benchmark of the phase field, `phase_field.py`: see there."""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    import_module("phase_field").main()
else:  # a script beside this file wants the package, which the file must not hide
    sys.path.sort(key=lambda folder: Path(folder).resolve() == Path(__file__).parent)  # the last
    del sys.modules[__name__]
    import_module(__name__)
