"""Systems as data: those of a user, their files and copies, and a network's exact symmetry.

The layered oxide has seven order parameters of 32 sublattices. Its group is not taken from the
crystal: it is every permutation with signs of the six zig-zag order parameters that leaves the
published invariants unchanged, and the columns of Q are one orbit of signs under it.
"""

import json
import pickle
from dataclasses import replace

import pytest
import torch
from boxes import D019
from hypothesis import given, settings
from hypothesis import strategies as st

from idnn.invariants import (
    Incomplete,
    fundamental_invariants,
    molien_series,
    require_complete,
)
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import BCC_B2, BCC_D03, FCC_L12, SYSTEMS, System, system_from
from idnn.polynomials import Polynomials, product
from idnn.polytope import Polytope
from idnn.symmetry import closed

PAIRS = ((1, 2), (3, 6), (4, 5))
"""Order parameters of LiₓCoO₂ of the same wave vector up to its sign."""


def signed(images):
    """The matrix that takes η to (η₀, ±η_|i|, …), i the signed numbers of `images`."""
    m = torch.eye(7, dtype=torch.float64)
    m[1:, 1:] = 0
    for row, i in enumerate(images, start=1):
        m[row, abs(i)] = 1 if i > 0 else -1
    return m


ZIGZAG_GENERATORS = torch.stack(
    [signed(i) for i in ([6, 3, 5, 2, 1, 4], [6, 3, 2, 5, 4, 1], [-1, 2, -3, 5, 4, 6])]
)
"""Of all permutations with signs that leave the published invariants unchanged."""


def power(exponents):
    return tuple(exponents.get(i, 0) for i in range(7))


def symmetric(*terms):
    return {power(dict(zip(t[::2], t[1::2], strict=True))): 1.0 for t in terms}


def sized(size, polynomial):
    return {e: size * c for e, c in polynomial.items()}


def published_invariants():
    """The twelve of Teichert et al. (2023), doi:10.1016/j.cma.2023.115955, a basis to degree 6."""
    each, across = range(1, 7), [
        (i, j) for i in range(1, 7) for j in range(i + 1, 7) if (i, j) not in PAIRS
    ]  # fmt: skip
    others = {pair: [k for k in each if k not in pair] for pair in PAIRS}
    eighth = product({power({1: 2}): 1, power({2: 2}): -1}, product(
        {power({3: 1, 5: 1}): 1, power({4: 1, 6: 1}): 1},
        {power({3: 1, 4: 1}): 1, power({5: 1, 6: 1}): -1},
    ))  # fmt: skip
    ninth = product({power({1: 1, 2: 1}): 1}, product(
        {power({3: 2}): 1, power({6: 2}): -1}, {power({4: 2}): 1, power({5: 2}): -1}
    ))  # fmt: skip
    triples = [(i, 2, j, 2, k, 2) for i in PAIRS[0] for j in PAIRS[1] for k in PAIRS[2]]
    return Polynomials.of(
        [
            {power({0: 1}): 1.0},
            sized(2 / 3, symmetric(*((i, 2) for i in each))),
            sized(8 / 3, symmetric(*((i, 4) for i in each))),
            sized(4 / 3, symmetric(*((i, 2, j, 2) for i, j in across))),
            sized(16 / 3, symmetric(*((i, 2, j, 2) for i, j in PAIRS))),
            sized(32 / 3, symmetric(*((i, 6) for i in each))),
            sized(8 / 3, symmetric(*((i, 4, j, 2) for p in across for i, j in (p, p[::-1])))),
            sized(
                16 / 3, symmetric(*((*(i, 2, j, 2), k, 2) for i, j in PAIRS for k in others[i, j]))
            ),
            sized(32 / 3, symmetric(*((i, 4, j, 2) for p in PAIRS for i, j in (p, p[::-1])))),
            sized(8, symmetric(*triples)),
            sized(64 / 5, eighth | ninth),
            sized(64 * 5**0.5, {power(dict.fromkeys(each, 1)): 1.0}),
        ]
    )


GROUP = torch.from_numpy(closed(ZIGZAG_GENERATORS.numpy()))
SIGNS = (GROUP @ torch.ones(7, dtype=torch.float64)).unique(dim=0).T
ZIGZAG = System(
    name="layered-zigzag",
    q=SIGNS / 32,
    group=ZIGZAG_GENERATORS,
    ordered_cell=((4, 0, 0), (0, 4, 0), (0, 0, 2)),
    prototypes={"R": (0.5,) * 32, "zig-zag": tuple(((1 + SIGNS[1]) / 2).tolist())},
    primitive_cell=((1.0, 0.0, 0.0), (-0.5, 0.75**0.5, 0.0), (0.5, 0.75**0.5 / 3, 1.6)),
    supplied=published_invariants(),
)
ALL = {**SYSTEMS, ZIGZAG.name: ZIGZAG}


def states(system, seeds, count=20):
    """States with some of their symmetry left, and without."""
    generator = torch.Generator().manual_seed(seeds)
    x = torch.rand(count, system.q.shape[1], generator=generator).double()
    return system.order_parameters(torch.where(x < 0.3, 0.25, x))


def test_the_layered_oxide_has_384_elements_and_32_sublattices():
    assert ZIGZAG.group.shape == (384, 7, 7)
    assert SIGNS.shape == (7, 32)
    torch.testing.assert_close(ZIGZAG.q_inverse, SIGNS.T, rtol=0, atol=1e-12)
    assert ZIGZAG.invariants.count == 12


def test_twelve_published_invariants_are_a_basis_to_degree_six_and_not_complete_beyond():
    """As many as Molien's series 1, 1, 3, 7 in the even degrees; four new at degree eight."""
    matrices = ZIGZAG.matrices[:, 1:, 1:].numpy().copy()
    assert molien_series(matrices, 8).tolist() == [1, 0, 1, 0, 3, 0, 7, 0, 14]
    degrees = [max(map(sum, p)) for p in ZIGZAG.invariants.terms()]
    assert degrees == [1, 2, 4, 4, 4, 6, 6, 6, 6, 6, 6, 6]
    without_composition = Polynomials.of(
        [{e[1:]: c for e, c in p.items()} for p in list(ZIGZAG.invariants.terms())[1:]]
    )
    with pytest.raises(Incomplete, match="all 14 of degree 8; they generate 10"):
        require_complete(without_composition, matrices, 8)


def test_the_finder_makes_the_same_algebra_to_degree_six_from_fewer():
    """One of degree two and four are powers and products: 1 + 2 + 4 remain."""
    found = fundamental_invariants(ZIGZAG.matrices[:, 1:, 1:].numpy().copy(), 6)
    assert [max(map(sum, p)) for p in found.terms()] == [2, 4, 4, 6, 6, 6, 6]


def test_a_supplied_polynomial_that_changes_is_named():
    *kept, last = published_invariants().terms()
    wrong = {**last, power({1: 2, 2: 2, 3: 2}): 1.0}
    with pytest.raises(ValueError, match=r"`invariants` must not change .* numbers \[11\]"):
        replace(ZIGZAG, supplied=Polynomials.of([*kept, wrong]))


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (range(11), "all 12 of degree 6; they generate 11"),
        ((0, 1, 5, 6, 7, 8, 9, 10, 11), "of degree 4"),
        (range(1, 12), "`supplied` must contain 7 independent"),
    ],
)
def test_a_supplied_set_that_lacks_some_is_refused(kept, message):
    terms = list(published_invariants().terms())
    with pytest.raises(ValueError, match=message):
        replace(ZIGZAG, supplied=Polynomials.of([terms[k] for k in kept]))


@pytest.mark.parametrize("name", ALL)
def test_a_network_has_the_symmetry_of_its_system_to_rounding(name):
    """f(Mη) = f(η) and μ(Mη) = M⁻ᵀμ(η), of learned part and reference, at any state."""
    system = ALL[name]
    network = IntegrableNetwork(system, 600.0, NetworkSettings(widths=(16, 16)), seeds=(1, 2))
    eta = states(system, 3)
    with torch.no_grad():
        f = network.values(system.images(eta))
        mu = network.gradients(system.images(eta))
        turned = torch.einsum("gji,mgnj->mgni", system.matrices, mu)  # Mᵀ back to η
        # 1e-12 of energies of 0.1 eV and of slopes of 1 eV, times terms that cancel.
        torch.testing.assert_close(f, f[:, :1].expand_as(f), rtol=0, atol=1e-12)
        torch.testing.assert_close(turned, turned[:, :1].expand_as(mu), rtol=0, atol=1e-11)
        assert float(f[:, 0].std()) > 1e-3


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(ALL)), st.integers(0, 10**6))
def test_images_are_orbits(name, seed):
    """As many different images as cosets of the stabiliser, and the same set from each image."""
    system = ALL[name]
    eta = states(system, seed, count=1)[0]
    images = system.images(eta)
    distance = torch.cdist(images, images, compute_mode="donot_use_mm_for_euclid_dist")
    assert int((distance[0] < 1e-12).sum()) * len(images) == int((distance < 1e-12).sum())
    again = system.images(images[-1])
    assert torch.cdist(again, images).amin(1).max() < 1e-6


@pytest.mark.parametrize("name", ALL)
def test_a_system_comes_back_from_json_and_from_another_process_as_it_was(name):
    system = ALL[name]
    copies = [
        system_from(json.loads(json.dumps(system.entries()))),
        pickle.loads(pickle.dumps(system)),
    ]
    for copy in copies:
        assert copy == system
        assert hash(copy) == hash(system)
        assert torch.equal(copy.group, system.group)
        assert torch.equal(copy.q, system.q)
        assert copy.invariants == system.invariants
        assert copy.prototypes == dict(system.prototypes)


def test_pickling_leaves_the_storage_of_tensors_where_it_is():
    before = FCC_L12.q.data_ptr()
    pickle.dumps(FCC_L12)
    assert FCC_L12.q.data_ptr() == before
    assert not FCC_L12.q.is_shared()


def test_systems_are_equal_only_in_all_their_data():
    unmoved = dict(group=torch.tensor([[0, 1]]), supplied=None)
    walls = Polytope(torch.eye(2).double(), torch.ones(2).double())
    assert replace(BCC_B2) == BCC_B2
    for change in (
        dict(name="other"),
        dict(q=BCC_B2.q * 2),
        unmoved,
        unmoved | dict(domain=walls),
        dict(supplied=Polynomials.of([{(1, 0): 1.0}, {(0, 2): 4.0}])),
        dict(prototypes={"A2": (0.5, 0.5)}),
    ):
        assert replace(BCC_B2, **change) != BCC_B2
    assert BCC_B2 != "bcc-B2"


@pytest.mark.parametrize("system", [BCC_B2, BCC_D03, FCC_L12, D019], ids=lambda s: s.name)
def test_invariants_that_are_found_are_of_order_one(system):
    own = replace(system, supplied=None)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * system.dimension).double()
    h = own.invariants(own.order_parameters(corners)).abs().amax(0)
    assert ((h > 0.7) & (h < 1.5)).all()
    assert own.invariants.count >= system.dimension


@pytest.mark.parametrize("system", [BCC_B2, BCC_D03], ids=lambda s: s.name)
def test_the_tables_of_bcc_are_what_is_found_but_for_scale(system):
    found = replace(system, supplied=None).invariants
    for one, other in zip(found.terms(), system.invariants.terms(), strict=True):
        assert one.keys() == other.keys()
        assert len({one[e] / other[e] for e in one}) == 1


def test_a_domain_of_the_users_own_decides_what_is_admissible():
    """Of order parameters that may not reach what full sublattices would allow."""
    square = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
    domain = Polytope(square, torch.tensor([0.3, 0.0, 0.1, 0.1], dtype=torch.float64))
    own = replace(BCC_B2, domain=domain, supplied=None)
    eta = torch.tensor([[0.3, 0.1], [0.3, -0.1], [0.31, 0], [0.1, 0.11], [torch.nan, 0]]).double()
    assert own.admissible(eta).tolist()[2:] == [False, False, False]
    assert own.admissible(eta * 0.999).tolist()[:2] == [True, True]
    h = own.invariants(domain.corners(16))
    assert ((h.abs().amax(0) > 0.7) & (h.abs().amax(0) < 1.5)).all()
    assert system_from(own.entries()) == own


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(q=torch.ones(4, 4).double()), "`q` must have independent rows"),
        (dict(q=FCC_L12.q[:3]), "`group` must permute the site fractions"),
        (dict(q=FCC_L12.q * torch.nan), "`q` must be finite"),
        (dict(group=2 * torch.eye(4).double()[None]), "determinant ±1"),
        (dict(group=-torch.eye(4).double()[None]), "`group` must permute the site fractions"),
        (
            dict(domain=Polytope(torch.eye(4).double(), torch.ones(4).double())),
            "`group` must permute the faces of `domain`",
        ),
        (dict(supplied=BCC_B2.invariants), "polynomials of 4 order parameters; they have 2"),
    ],
)
def test_data_that_are_no_system_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(FCC_L12, **change)


def test_an_unbounded_domain_has_no_scale():
    half = Polytope(torch.tensor([[1.0, 0.0]]).double(), torch.ones(1).double())
    own = replace(BCC_B2, domain=half, supplied=None)
    with pytest.raises(ValueError, match="`domain` must be bounded"):
        own.invariants  # noqa: B018


def test_a_system_too_large_for_the_search_says_so_when_its_invariants_are_asked_for():
    own = replace(ZIGZAG, supplied=None)
    with pytest.raises(ValueError, match="or supply the invariants"):
        own.invariants  # noqa: B018


@pytest.mark.parametrize("entries", [None, {}, FCC_L12.entries() | {"more": 1}])
def test_entries_that_are_no_system_are_refused(entries):
    with pytest.raises(ValueError, match="`system` must have the entries"):
        system_from(entries)
