"""The crystal's group, its invariants, its polytope, and the names of its phases."""

from itertools import product

import pytest
import torch
from references import sobol_states

from idnn.order_parameters import FCC_L12, ordered_partly

L12_VARIANTS = [(1.0, *s) for s in product((-1.0, 1.0), repeat=3) if s[0] * s[1] * s[2] > 0]


def test_the_group_has_24_different_elements_and_is_closed():
    elements = {tuple(p.tolist()) for p in FCC_L12.group}
    assert len(elements) == len(FCC_L12.group) == 24
    assert {tuple(p[list(r)].tolist()) for p in FCC_L12.group for r in elements} == elements


def test_q_is_a_quarter_of_an_isometry_so_gradients_turn_like_order_parameters():
    identity = torch.eye(4, dtype=torch.float64) / 4
    torch.testing.assert_close(FCC_L12.q @ FCC_L12.q.T, identity, rtol=0, atol=0)


def test_the_first_order_parameter_is_the_composition():
    x = torch.tensor([0.9, 0.1, 0.2, 0.4], dtype=torch.float64)
    assert float(FCC_L12.order_parameters(x)[0]) == pytest.approx(0.4)


def test_site_fractions_invert_order_parameters():
    eta = sobol_states(100, seed=1)
    back = FCC_L12.order_parameters(FCC_L12.site_fractions(eta))
    torch.testing.assert_close(back, eta, rtol=0, atol=1e-15)


def test_invariants_are_the_same_for_all_images():
    eta = sobol_states(200, seed=2)
    h = FCC_L12.invariants(FCC_L12.images(eta))
    torch.testing.assert_close(h, h[:1].expand_as(h), rtol=0, atol=1e-13)


def test_invariants_tell_states_apart_that_no_element_joins():
    """A complete set separates orbits: the sign of η₁η₂η₃, and where |η| is."""
    eta = torch.tensor([0.25, 0.1, 0.1, 0.1], dtype=torch.float64)
    mirrored = eta * torch.tensor([1, 1, 1, -1])
    turned = torch.tensor([0.25, 0.03**0.5, 0, 0], dtype=torch.float64)
    h = FCC_L12.invariants(torch.stack([eta, mirrored, turned]))
    assert torch.pdist(h).min() > 0.02


def test_invariants_are_independent():
    eta = torch.tensor([0.3, 0.05, 0.1, 0.2], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(FCC_L12.invariants, eta)
    assert torch.linalg.matrix_rank(jacobian) == 4


def test_the_four_variants_of_l12_have_positive_product():
    one_site = torch.tensor(FCC_L12.prototypes["L1_2"], dtype=torch.float64)
    images = FCC_L12.images(FCC_L12.order_parameters(one_site))
    assert {tuple(v) for v in (4 * images).tolist()} == set(L12_VARIANTS)
    assert len(L12_VARIANTS) == 4


@pytest.mark.parametrize("name", FCC_L12.prototypes)
def test_prototypes_and_all_their_images_have_their_name(name):
    x = torch.tensor(FCC_L12.prototypes[name], dtype=torch.float64)
    weakly = x.mean() + 0.4 * (x - x.mean())
    for state in (x, weakly):
        for image in FCC_L12.images(FCC_L12.order_parameters(state)):
            assert FCC_L12.phase_name(image) == name


def test_states_are_admissible_up_to_the_walls_and_not_beyond():
    x = torch.tensor([[0, 1, 0.5, 0.5], [-1e-9, 1, 0, 0], [0, 1 + 1e-9, 0, 0]], dtype=torch.float64)
    assert FCC_L12.admissible(FCC_L12.order_parameters(x)).tolist() == [True, False, False]


def test_a_nan_is_not_admissible():
    assert not FCC_L12.admissible(torch.full((4,), torch.nan, dtype=torch.float64))


@pytest.mark.parametrize(
    "ideal", [(1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 1.0, 1.0), (1.0, 0.5, 0.5, 0.0)]
)
def test_the_line_to_an_ordered_state_keeps_its_composition_and_ends_at_a_wall(ideal):
    """Also where a sublattice of the ordered state has the mean composition and never changes."""
    p = torch.tensor(ideal, dtype=torch.float64)
    c = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)[:, None]
    for share in (0.0, 0.4, 1.0):
        x = ordered_partly(p, c, share)
        torch.testing.assert_close(x.mean(-1, keepdim=True), c)
        torch.testing.assert_close(x - c, share * (ordered_partly(p, c, 1.0) - c))
    ends = ordered_partly(p, c, 1.0)
    torch.testing.assert_close(torch.minimum(ends, 1 - ends).amin(-1), torch.zeros(7).double())
    torch.testing.assert_close(ordered_partly(p, p.mean()[None], 1.0), p)
    shares = torch.rand(7, 1, generator=torch.Generator().manual_seed(2)).double()
    rows = ordered_partly(p.expand(7, 4), c, shares)
    assert torch.equal(rows[3], ordered_partly(p, c[3], float(shares[3])))
