"""Free energies, initial states and observations."""

import math

import pytest
import torch

from idnn.checkpoint import save_network
from idnn.free_energy import chemical_potential
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from phasefield.free_energies import load_energy, require_admissible
from phasefield.grid import Grid
from phasefield.initial import Nucleus, noisy, scattered, with_nuclei
from phasefield.observe import L12_SIGNS, AboveThreshold, L12Variants, variants_present


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_learned_energy_carries_its_system_and_hashes(tmp_path):
    network = IntegrableNetwork(FCC_L12, 1000.0, NetworkSettings(), seeds=range(3))
    save_network(network, tmp_path / "model.safetensors", data_hash="abc")
    eta = torch.tensor([[0.2, 0.05, 0.05, 0.05]], dtype=torch.float64)
    whole = load_energy(tmp_path / "model.safetensors")
    members = [load_energy(tmp_path / "model.safetensors", member=i).f(eta) for i in range(3)]
    assert whole.system == FCC_L12
    assert whole.data_hash == "abc"
    assert len(whole.sha256) == 64
    torch.testing.assert_close(whole.f(eta), torch.stack(members).mean(0))
    with pytest.raises(ValueError, match=r"`member` must lie in \[0, 2\]; it is 3"):
        load_energy(tmp_path / "model.safetensors", member=3)


def test_a_higher_floor_changes_a_learned_energy_below_it_alone(tmp_path):
    settings = NetworkSettings(floor=1e-4)
    network = IntegrableNetwork(FCC_L12, 1000.0, settings, seeds=range(2))
    save_network(network, tmp_path / "model.safetensors", data_hash="abc")
    exact, raised = (
        load_energy(tmp_path / "model.safetensors", floor=floor).f for floor in (None, 5e-3)
    )
    x = torch.tensor([[0.2, 0.1, 0.01, 0.3], [0.2, 0.1, 1e-3, 0.3]], dtype=torch.float64)
    eta = FCC_L12.order_parameters(x)
    mu = [chemical_potential(f, eta) for f in (exact, raised)]
    torch.testing.assert_close(mu[0][0], mu[1][0], rtol=0, atol=1e-15)
    # ∂f/∂x₃ = k_BT/4 ln x; with the floor ln 5e-3 − 0.8, and the rest of μ is the same.
    change = FCC_L12.q.T @ (mu[1][1] - mu[0][1])
    thermal = BOLTZMANN_EV * 1000 / 4
    expected = thermal * (math.log(5e-3) - 0.8 - math.log(1e-3))
    assert change.tolist() == [
        pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12), pytest.approx(expected),
        pytest.approx(0, abs=1e-12),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"`floor` must not be below that of training, 0.0001"):
        load_energy(tmp_path / "model.safetensors", floor=1e-5)


def test_noise_has_the_asked_mean_exactly_and_the_asked_width():
    u = noisy(Grid((64, 64), 1.0), [0.2, 0.0], [0.01, 0.02], seeded())
    means, widths = u.flatten(1).mean(1), u.flatten(1).std(1)
    torch.testing.assert_close(
        means, torch.tensor([0.2, 0.0], dtype=torch.float64), rtol=0, atol=1e-15
    )
    assert widths.tolist() == pytest.approx([0.01, 0.02], rel=4 / math.sqrt(2 * 4096))


def test_noise_is_a_function_of_the_seed_alone():
    grid = Grid((8,), 1.0)
    first, again, other = (noisy(grid, [0.0], [1.0], seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nuclei_leave_the_mean_composition_and_wrap_around_the_boundary():
    grid = Grid((40, 40), 0.5)
    u = noisy(grid, [0.15, 0.0, 0.0, 0.0], [0.0] * 4, seeded())
    values = (0.24, 0.2, 0.2, 0.2)
    new = with_nuclei(grid, u, [Nucleus((0.0, 10.0), 4.0, values, 0.5)])
    assert float(new[0].mean()) == pytest.approx(0.15, abs=1e-15)
    torch.testing.assert_close(new[:, 0], new[:, -1], rtol=0, atol=1e-9)
    assert float(new[1, 0, 20]) == pytest.approx(0.2, abs=1e-6)
    area = float(new[1].sum() / 0.2) * grid.cell_volume
    assert area == pytest.approx(math.pi * 4.0**2 + math.pi**3 * 0.5**2 / 12, rel=1e-3)


def test_a_nucleus_at_a_wall_does_not_reach_the_opposite_one():
    grid = Grid((40, 40), 0.5, ("no-flux", "periodic"))
    u = noisy(grid, [0.15], [0.0], seeded())
    new = with_nuclei(grid, u, [Nucleus((0.0, 0.0), 4.0, (0.9,), 0.5)])
    assert float(new[0, 0, 0]) > 0.8
    assert float(new[0, 0, -1]) > 0.8
    assert float(new[0, -1, 0]) < 0.2


def test_scattered_centres_keep_their_distance_across_the_boundary():
    grid = Grid((30, 30), 1.0)
    centres = scattered(grid, 8, 7.0, seeded())
    for i, a in enumerate(centres):
        for b in centres[:i]:
            steps = [(x - y + 15) % 30 - 15 for x, y in zip(a, b, strict=True)]
            assert math.hypot(*steps) >= 7.0


def test_nuclei_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="`count` = 99 nuclei 9 nm apart do not fit"):
        scattered(Grid((30, 30), 1.0), 99, 9.0, seeded())


def test_a_nucleus_of_other_dimensions_is_refused():
    grid = Grid((8, 8), 1.0)
    with pytest.raises(ValueError, match="`nucleus` must hold 1 values and a centre of 2"):
        with_nuclei(grid, torch.zeros(1, 8, 8), [Nucleus((1.0,), 2.0, (1.0,))])


def test_amplitudes_of_another_length_are_refused():
    with pytest.raises(ValueError, match="`amplitudes` must hold one number per field"):
        noisy(Grid((8,), 1.0), [0.1, 0.2], [0.1], seeded())


def test_a_state_outside_the_admissible_polytope_is_refused_with_its_first_cell():
    u = torch.zeros(4, 3, 3, dtype=torch.float64)
    u[0] = 0.1
    require_admissible(u, FCC_L12)
    u[1:, 1, 2] = 0.2
    with pytest.raises(ValueError, match=r"1 of 9 cells do not; first, cell \(1, 2\) holds"):
        require_admissible(u, FCC_L12)


def test_each_variant_of_perfect_order_is_named_and_the_matrix_is_not():
    """η = Q x with all Al on one sublattice; all Ni on one (Al-rich L1₂) is no γ′ of Ni₃Al."""
    eta = FCC_L12.order_parameters(torch.eye(4, dtype=torch.float64))
    assert torch.equal(eta[:, 1:].sign().long(), L12_SIGNS)
    assert L12Variants(0.1)(eta.T).tolist() == [1, 2, 3, 4]
    disordered = torch.full((1, 4), 0.3, dtype=torch.float64)
    aluminium_rich = FCC_L12.order_parameters(1 - torch.eye(4, dtype=torch.float64))
    assert L12Variants(0.1)(FCC_L12.order_parameters(disordered).T).tolist() == [0]
    assert L12Variants(0.1)(aluminium_rich.T).tolist() == [0] * 4


def test_one_field_is_split_at_its_threshold():
    u = torch.tensor([[0.1, 0.5, 0.6]])
    assert AboveThreshold(0.5)(u).tolist() == [0, 0, 1]


def test_a_variant_counts_from_the_smallest_share_on():
    assert variants_present((0.9, 0.05, 0.0, 0.049, 0.001), 0.049) == 2


def test_a_threshold_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="`threshold` must be finite and positive"):
        L12Variants(-0.1)
