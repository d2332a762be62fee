"""Shape and type checking of every annotated function while the tests run; one thread for torch."""

from jaxtyping import install_import_hook

install_import_hook(
    ("idnn", "sampling", "phasefield"),
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

import torch  # noqa: E402

torch.set_num_threads(1)
