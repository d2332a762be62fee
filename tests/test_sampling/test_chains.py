"""Where chains start, and chains on disk."""

import numpy as np
import pytest

from idnn.order_parameters import FCC_L12
from sampling.chains import Chains, fresh_chains, scattered
from sampling.ensemble import LANES
from sampling.lattice import Supercell

BOX = Supercell(FCC_L12, 3)


def test_scattered_occupations_fill_each_sublattice_as_asked_and_evenly():
    filled = np.array([[0, 27, 9, 1], [5, 5, 5, 5]])
    occupation = scattered(BOX, filled, walkers=800, seed=3)
    assert (BOX.filled(occupation) == filled[:, None]).all()
    share = occupation[0, :, 54:81].mean(0)  # a third of sublattice 2, binomial error
    assert (np.abs(share - 1 / 3) < 4 * np.sqrt(2 / 9 / 800)).all()
    assert len(np.unique(occupation[1], axis=0)) == 800


@pytest.mark.parametrize("wrong", [-1, 28])
def test_fillings_beyond_a_sublattice_are_refused(wrong):
    with pytest.raises(ValueError, match=r"`filled` must lie in \[0, 27\]"):
        scattered(BOX, np.array([[0, 1, 2, wrong]]), walkers=2, seed=0)


def test_fresh_walkers_start_from_uniform_sublattice_fractions():
    chains = fresh_chains(LANES, BOX, walkers=500, seed=1, point_seeds=(4,))
    x = BOX.filled(chains.occupation[0]) / 27
    # A uniform fraction has mean 1/2 and variance 1/12, to which 27 sites add 1/6 / 27.
    variance = 1 / 12 + 1 / 162
    assert (np.abs(x.mean(0) - 0.5) < 4 * np.sqrt(variance / 500)).all()
    assert (np.abs(np.corrcoef(x.T)[np.triu_indices(4, 1)]) < 4 / np.sqrt(500)).all()
    assert x.var(0) == pytest.approx(np.full(4, variance), rel=4 * np.sqrt(0.8 / 500))


def test_files_that_hold_no_chains_are_refused(tmp_path):
    path = tmp_path / "chains.npz"
    fresh_chains(LANES, BOX, walkers=2, seed=1, point_seeds=(4,)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"chains\.npz holds no chains that `Chains.save` wrote"):
        Chains.load(path)
    np.savez(path, occupation=np.zeros(3))
    with pytest.raises(ValueError, match="holds no chains"):
        Chains.load(path)
    np.savez(path, kernel=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="holds no chains"):
        Chains.load(path)
