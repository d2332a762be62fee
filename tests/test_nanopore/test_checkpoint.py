"""Fits on disk."""

import json

import pytest
import torch
from pores import D, tensor
from safetensors.torch import load, save

from idnn.checkpoint import BadModelFile
from idnn.nanopore import Fit, LearnedClosure, LearnedLocalClosure, ions, untrained
from idnn.nanopore.checkpoint import load_fit, save_fit

FEED = tensor(5.0, 20.0, 45.0)[None]


def a_fit(closure=True):
    generator = torch.Generator().manual_seed(0)
    pores = 0.3 * torch.randn(3, 2, 4, dtype=D, generator=generator)
    learned = None
    if closure:
        start = untrained(0)
        learned = LearnedClosure(
            *(w + 0.3 * torch.randn(3, *w.shape, dtype=D, generator=generator) for w in start)
        )
    return Fit(ions(("Li", "Mg", "Cl")), pores, learned, tensor(1.0, 1.0, 2.0))


def test_a_fit_with_a_local_closure_stays_one(tmp_path):
    fit, path = a_fit(), tmp_path / "fit.safetensors"
    assert fit.closure is not None
    local = fit._replace(closure=LearnedLocalClosure(*fit.closure))
    save_fit(local, path)
    again = load_fit(path).closure
    assert isinstance(again, LearnedLocalClosure)
    assert all(torch.equal(a, b) for a, b in zip(again, fit.closure, strict=True))


@pytest.mark.parametrize("closure", [True, False])
def test_a_fit_read_back_gives_the_same_bits(tmp_path, closure):
    fit, path = a_fit(closure), tmp_path / "fit.safetensors"
    save_fit(fit, path)
    again = load_fit(path)
    both = [f.predict(FEED, torch.tensor([1]), flux=tensor(1e-5)).rejection for f in (fit, again)]
    assert torch.equal(*both)
    assert torch.equal(fit.noise, again.noise)


def test_a_file_that_is_no_fit_is_refused(tmp_path):
    path = tmp_path / "fit.safetensors"
    with pytest.raises(FileNotFoundError, match="write it by `save_fit`"):
        load_fit(path)
    save_fit(a_fit(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(BadModelFile, match="is truncated or not the file of a fit"):
        load_fit(path)
    path.write_bytes(whole.replace(b"nanopore-1", b"nanopore-9"))
    with pytest.raises(BadModelFile, match="format is 'scalebridge-nanopore-9'"):
        load_fit(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pores", torch.full((3, 2, 4), torch.nan), "`pores` must be finite"),
        ("closure.bias", torch.zeros(2, 8), r"`closure.bias` must have shape \(3, 8\)"),
        ("noise", torch.ones(2), r"`noise` must have shape \(3,\)"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path, name, value, message):
    path = tmp_path / "fit.safetensors"
    save_fit(a_fit(), path)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = path.read_bytes()[8 : 8 + length]
    meta = json.loads(header)["__metadata__"]
    path.write_bytes(save(load(path.read_bytes()) | {name: value.to(D)}, metadata=meta))
    with pytest.raises(BadModelFile, match=message):
        load_fit(path)
