"""The network: blind to cell and frame, smooth, local where it should be, and taken apart whole."""

import numpy as np
import pytest
import torch
from hosts import fluorite, other_descriptions, pair, rock_salt, silicalite, skewed

from idnn.adsorption.environments import Windows, environments
from idnn.adsorption.features import all_knowns
from idnn.adsorption.network import (
    AttentionNetwork,
    AttentionSettings,
    of_similar_size,
    padded,
)
from idnn.adsorption.structures import Crystal
from idnn.adsorption.training import Samples, outputs

FLOAT = 1e-5
"""Of numbers of order one in single precision."""


def network(reaches=(3.0, 5.0), layers=2):
    """With no weight at a special value."""
    windows = Windows(reaches=reaches, functions=4)
    settings = AttentionSettings(width=4 * (len(reaches) + 1), layers=layers, windows=windows)
    made = AttentionNetwork(settings, knowns=2, outputs=2, seed=1).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return made


def given(model, *crystals):
    around = [environments(crystal, model.settings.windows) for crystal in crystals]
    knowns = torch.tensor(all_knowns(crystals, None), dtype=torch.float32)
    return padded(around), knowns


def values(model, *crystals):
    with torch.no_grad():
        return model(*given(model, *crystals)).numpy()


@pytest.mark.parametrize("crystal", [skewed(), rock_salt()], ids=lambda c: c.name)
@pytest.mark.parametrize("how", ["supercell", "cell", "turned"])
def test_every_description_of_a_crystal_has_the_same_outputs(crystal, how):
    model = network()
    other = other_descriptions(crystal)[how]
    np.testing.assert_allclose(values(model, other), values(model, crystal), atol=FLOAT)


def test_one_atom_for_each_kind_and_all_atoms_have_the_same_outputs():
    crystal = fluorite()
    model = network()
    _, knowns = given(model, crystal)
    every = padded([environments(crystal, model.settings.windows, symmetry=None)])
    assert every.numbers.shape == (1, 12)
    with torch.no_grad():
        found = model(every, knowns).numpy()
    np.testing.assert_allclose(found, values(model, crystal), atol=FLOAT)


def test_the_order_of_atoms_does_not_matter():
    crystal, order = skewed(), np.array([2, 0, 1])
    shuffled = Crystal("s", crystal.lattice, crystal.fractional[order], crystal.numbers[order])
    model = network()
    np.testing.assert_allclose(values(model, shuffled), values(model, crystal), atol=FLOAT)


def test_outputs_are_smooth_where_an_atom_leaves_a_window():
    model = network()
    for edge in (3.0, 5.0):
        near, at, far = (values(model, pair(edge + d)) for d in (-2e-3, 0.0, 2e-3))
        changed = np.abs(values(model, pair(edge - 1.0)) - at).max()
        # Cubic beyond the edge: 2·10⁻³ of the last 0.4 Å, cubed, is far below single precision.
        assert np.abs(near - at).max() < 1e-3 * changed + FLOAT
        assert np.abs(far - at).max() < 2e-2 * changed + FLOAT
        assert changed > 1e-3


def test_crystals_that_differ_beyond_all_windows_alone_have_the_same_outputs():
    model = network()
    np.testing.assert_allclose(values(model, pair(6.5)), values(model, pair(5.5)), atol=1e-6)
    assert np.abs(values(model, pair(4.5)) - values(model, pair(5.5))).max() > 1e-3


def test_a_window_limits_what_is_seen_in_any_number_of_layers():
    model = network(reaches=(3.0,), layers=3)
    np.testing.assert_allclose(values(model, pair(4.5)), values(model, pair(4.0)), atol=1e-6)
    assert np.abs(values(model, pair(2.5)) - values(model, pair(4.0))).max() > 1e-3


def test_the_whole_crystal_is_seen_beyond_all_windows():
    model = network(reaches=(3.0,), layers=1)
    lead = values(model, pair(6.0, numbers=(14, 82)))
    assert np.abs(lead - values(model, pair(6.0))).max() > 1e-3


def test_atoms_beyond_all_windows_act_on_an_atom_through_the_whole_crystal_alone():
    """With the last head's values put out, an atom's own contribution is blind to the other."""
    model = network(reaches=(3.0,), layers=1)
    (layer,) = model.layers

    def of_first(other):
        atoms, knowns = given(model, pair(6.0, numbers=(14, other)))
        return model.contributions(atoms, torch.zeros_like(knowns)).atoms[0, 0].numpy()

    assert np.abs(of_first(82) - of_first(8)).max() > 1e-4
    with torch.no_grad():
        layer.out.weight[:, 4:] = 0
    np.testing.assert_allclose(of_first(82), of_first(8), atol=1e-6)


def test_the_number_of_neighbours_is_known_where_their_kind_and_distance_are_the_same():
    face = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    six = Crystal("six", 2.8 * np.eye(3), np.zeros((1, 3)), np.array([29]))
    twelve = Crystal("twelve", 2.8 * 2**0.5 * np.eye(3), face, np.full(4, 29))
    model = network(reaches=(3.5,), layers=1)
    atoms, knowns = given(model, six, twelve)
    with torch.no_grad():
        one, two = model(atoms, torch.zeros_like(knowns)).numpy()
    assert np.abs(one - two).max() > 1e-3


def test_contributions_and_the_rest_add_up_to_the_outputs():
    model = network()
    crystals = (skewed(), rock_salt(), silicalite())
    found = model.contributions(*given(model, *crystals))
    whole = (found.atoms.sum(1) + found.rest).numpy()
    np.testing.assert_allclose(whole, values(model, *crystals), atol=FLOAT)
    np.testing.assert_allclose(found.outputs.numpy(), whole, atol=FLOAT)
    assert found.attention.shape == (3, 2, 3, 38)
    total = found.attention.sum(-1)
    assert ((total > 0) & (total < 1)).all()


def test_attention_is_that_of_the_readout_which_sees_all_atoms_in_every_head():
    model = network()
    found = model.contributions(*given(model, pair(7.0)))
    # In a window's head each of these atoms sees itself, the other and the readout at 10⁻⁹.
    assert found.attention.min() > 1e-3


def test_padding_changes_nothing():
    model = network()
    together = values(model, rock_salt(), silicalite(), skewed())
    for row, crystal in enumerate((rock_salt(), silicalite(), skewed())):
        np.testing.assert_allclose(together[row], values(model, crystal)[0], atol=FLOAT)
    found = model.contributions(*given(model, rock_salt(), silicalite()))
    assert not found.atoms[0, 2:].any()
    assert found.attention[0, ..., 2:].max() < 1e-6


def test_crystals_taken_in_groups_keep_their_order():
    model = network()
    crystals = (silicalite(), rock_salt(), skewed(), rock_salt(4.2))
    around = tuple(environments(crystal, model.settings.windows) for crystal in crystals)
    _, knowns = given(model, *crystals)
    samples = Samples(around, knowns, torch.zeros(4, 2))
    with torch.no_grad():
        found = outputs(model, samples).numpy()
    np.testing.assert_allclose(found, values(model, *crystals), atol=FLOAT)


def test_groups_hold_all_rows_once_and_sizes_that_are_alike():
    sizes = np.random.default_rng(0).integers(1, 300, 100).tolist()
    groups = of_similar_size(sizes)
    assert sorted(np.concatenate(groups).tolist()) == list(range(100))
    for group in groups:
        held = [sizes[row] for row in group]
        assert max(held) <= 1.4 * min(held) + 4


def test_gradients_are_finite_even_of_atoms_without_neighbours():
    model = network()
    loss = model(*given(model, pair(7.0), rock_salt())).square().sum()
    loss.backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


def test_weights_follow_from_the_seed_and_the_global_seed_is_left_alone():
    def first(seed):
        settings = AttentionSettings(width=8, layers=1)
        made = AttentionNetwork(settings, knowns=2, outputs=1, seed=seed)
        return torch.cat([p.flatten() for p in made.parameters()])

    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, "`layers` must be at least 1; it is 0"),
        ({"width": 10}, "`width` must be a multiple of the 4 heads"),
        ({"width": 0}, "`width` must be a multiple"),
    ],
)
def test_bad_shapes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        AttentionSettings(**change)
