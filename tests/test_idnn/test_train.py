"""The training loop for any model: closed forms, stopping, validation, and resuming to the bit."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from idnn.levenberg import NotTrained
from idnn.state import BadCheckpoint
from idnn.train import LBFGS, FirstOrder, Stopping, fit


class Point(nn.Module):
    """Parameters and nothing else."""

    def __init__(self, *at):
        super().__init__()
        self.at = nn.Parameter(torch.tensor(at, dtype=torch.float64))


def rosenbrock(model, scale):
    x, y = model.at
    return scale * ((1 - x) ** 2 + 100 * (y - x**2) ** 2)


def distance(model, goal):
    return (model.at - goal).square().mean()


def net(seed=0):
    torch_state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    torch.set_rng_state(torch_state)
    return model


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Rows:
    """Inputs and outputs that can be cut by rows."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, rows):
        return Rows(self.x[rows], self.y[rows])


def curve(count=60, seed=1, noise=0.0):
    x = draw(count, 2, seed=seed)
    return Rows(x, (x[:, :1] * x[:, 1:]).sin() + noise * draw(count, 1, seed=seed + 1))


def miss(model, rows):
    return (model(rows.x) - rows.y).square().mean()


ADAM = partial(torch.optim.Adam, lr=1e-2)
OPTIMISERS = {
    "lbfgs": LBFGS(iterations=320, history=7),
    "adam": FirstOrder(make=ADAM, epochs=7, rows=16, seed=3),
    "sgd with momentum": FirstOrder(
        make=partial(torch.optim.SGD, lr=1e-2, momentum=0.9), epochs=7, rows=13
    ),
    "whole batch": FirstOrder(make=ADAM, epochs=7),
}


def test_lbfgs_reaches_the_minimum_of_rosenbrocks_valley():
    point = Point(-1.2, 1.0)
    result = fit(point, rosenbrock, 1.0, LBFGS())
    assert point.at.tolist() == pytest.approx([1, 1], abs=1e-6)
    assert result.losses[-1] < 1e-12
    assert result.evaluations < 1000


def test_adam_reaches_the_minimum_of_a_bowl():
    point = Point(3.0, -4.0)
    optimiser = FirstOrder(make=partial(torch.optim.Adam, lr=0.1), epochs=400)
    fit(point, distance, torch.tensor([1.0, 2.0]), optimiser)
    assert point.at.tolist() == pytest.approx([1, 2], abs=1e-6)


@pytest.mark.parametrize(
    "optimiser",
    [LBFGS(), FirstOrder(make=partial(torch.optim.SGD, lr=0.3), epochs=200)],
    ids=["lbfgs", "sgd"],
)
def test_weight_decay_pulls_towards_zero_by_its_closed_form(optimiser):
    point = Point(0.0)
    fit(point, distance, torch.tensor(3.0), optimiser, weight_decay=0.5)
    assert float(point.at.detach()) == pytest.approx(3.0 / 1.5, abs=1e-9)


def test_an_epoch_passes_every_row_once_in_an_order_of_its_own():
    seen = []

    def spy(model, batch):
        if torch.is_grad_enabled() and len(batch) < 10:
            seen.append(batch.tolist())
        return (model.at * batch).square().sum()

    fit(Point(1.0), spy, torch.arange(10.0), FirstOrder(make=ADAM, epochs=2, rows=4))
    assert [len(part) for part in seen] == [4, 4, 2, 4, 4, 2]
    one, two = ([row for part in epoch for row in part] for epoch in (seen[:3], seen[3:]))
    assert sorted(one) == sorted(two) == list(range(10))
    assert one != two


def test_steps_follow_a_cosine_after_a_short_rise():
    """Of plain descent on a linear loss every step is the rate itself."""
    point, met = Point(0.0), []

    def slope(model, _):
        met.append(float(model.at.detach()))
        return -model.at.sum()

    make = partial(torch.optim.SGD, lr=0.5)
    fit(point, slope, None, FirstOrder(make=make, epochs=40, cosine=True))
    places = [*met[::2], float(point.at.detach())]
    done = (torch.arange(40) + 0.5) / 40
    wanted = 0.5 * torch.minimum(20 * done, 0.5 + 0.5 * (math.pi * done).cos())
    assert torch.tensor(places).diff().tolist() == pytest.approx(wanted.tolist(), abs=1e-6)


def test_a_cosine_goes_on_after_a_stop_and_not_over_other_epochs(tmp_path):
    path, data = tmp_path / "part.safetensors", curve()
    whole = FirstOrder(make=partial(torch.optim.Adam, lr=0.01), epochs=6, rows=7, cosine=True)
    expected = fit(net(), miss, data, whole).losses
    met = 0

    def interrupted(model, rows):
        nonlocal met
        met += 1
        if met == 30:
            raise KeyboardInterrupt
        return miss(model, rows)

    with pytest.raises(KeyboardInterrupt):
        fit(net(), interrupted, data, whole, checkpoint=path)
    assert fit(net(), miss, data, whole, checkpoint=path).losses == expected
    with pytest.raises(BadCheckpoint, match="cosine over 6"):
        fit(net(), miss, data, replace(whole, epochs=7), checkpoint=path)


def test_the_loss_of_a_parted_batch_is_the_mean_of_its_parts_as_they_were_met():
    met = []

    def noted(model, rows):
        met.append(float(miss(model, rows).detach()))
        return miss(model, rows)

    optimiser = FirstOrder(make=partial(torch.optim.Adam, lr=0.01), epochs=3, rows=20)
    losses = fit(net(), noted, curve(60), optimiser, weight_decay=0.1).losses
    assert len(met) == 9
    assert losses == pytest.approx([sum(met[i : i + 3]) / 3 for i in (0, 3, 6)])


def test_no_more_iterations_are_done_than_asked_for():
    few, more = (fit(Point(-1.2, 1.0), rosenbrock, 1.0, LBFGS(iterations=n)) for n in (3, 20))
    assert few.losses[-1] > 5 * more.losses[-1]
    assert len(few.losses) == len(more.losses) == 1
    assert len(fit(net(), miss, curve(), LBFGS(iterations=120)).losses) == 3


def test_lbfgs_makes_all_its_iterations():
    """Each takes one evaluation or more; the narrow valley is far from its end after 100."""
    found = fit(net(), miss, curve(), LBFGS(iterations=100))
    assert found.evaluations >= 100


def test_a_line_search_turns_back_where_the_loss_is_not_a_number():
    """3√x − 0.3 log x, least at 0.04; the first step from 0.5 goes to −0.5."""
    point = Point(0.5)

    def loss(model, batch):
        x = model.at[0] * batch
        return 3 * x.sqrt() - 0.3 * x.log()

    fit(point, loss, 1.0, LBFGS(iterations=30))
    assert float(point.at[0].detach()) == pytest.approx(0.04, rel=1e-4)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_same_arguments_give_the_same_bits(name):
    models = [net(), net()]
    one, two = (fit(m, miss, curve(), OPTIMISERS[name]) for m in models)
    assert one == two
    assert same_weights(*models)


def same_weights(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("validated", [False, True])
def test_a_stopped_training_goes_on_to_the_same_bits(name, validated, tmp_path):
    data, options = curve(noise=0.3), {}
    if validated:
        options["validation"] = curve(40, seed=8, noise=0.3)
    whole, resumed = net(), net()
    expected = fit(whole, miss, data, OPTIMISERS[name], **options)
    path = tmp_path / "training"
    calls = [0]

    def interrupted(model, batch):
        calls[0] += 1
        if path.exists() and calls[0] > 120:
            raise KeyboardInterrupt
        return miss(model, batch)

    optimiser = OPTIMISERS[name]
    if name != "lbfgs":
        fit(net(), miss, data, replace(optimiser, epochs=3), checkpoint=path, **options)
    else:
        with pytest.raises(KeyboardInterrupt):
            fit(net(), interrupted, data, optimiser, checkpoint=path, **options)
    again = fit(resumed, miss, data, optimiser, checkpoint=path, **options)
    assert again == expected
    assert same_weights(whole, resumed)
    finished = net(seed=5)
    assert fit(finished, miss, data, optimiser, checkpoint=path, **options) == expected
    assert same_weights(finished, whole)


def test_validation_keeps_the_weights_of_its_best_epoch():
    """Descent from 4 to 0 passes 1, where the validation loss is least."""
    point = Point(4.0)
    optimiser = FirstOrder(make=partial(torch.optim.SGD, lr=0.05), epochs=60)
    result = fit(point, distance, torch.tensor(0.0), optimiser, validation=torch.tensor(1.0))
    expected = [4 * 0.9**n for n in range(1, 61)]
    best = min(range(60), key=lambda n: (expected[n] - 1) ** 2)
    assert result.best == best
    assert float(point.at.detach()) == pytest.approx(expected[best])
    assert result.validation == pytest.approx([(x - 1) ** 2 for x in expected])
    assert result.losses == pytest.approx([x**2 for x in expected])


def test_without_validation_the_last_weights_are_kept():
    point = Point(4.0)
    result = fit(
        point, distance, torch.tensor(0.0), FirstOrder(make=partial(torch.optim.SGD, lr=1.05),
                                                       epochs=5),
    )  # fmt: skip
    assert result.best == 4
    assert float(point.at.detach()) == pytest.approx(4 * (-1.1) ** 5)


@pytest.mark.parametrize("patience", [1, 5])
def test_it_stops_once_the_loss_no_longer_falls(patience):
    """The loss falls by 1 − 0.9² = 19 % an epoch until only the constant 1 is left."""
    point, epochs = Point(4.0), 500
    optimiser = FirstOrder(make=partial(torch.optim.SGD, lr=0.05), epochs=epochs)
    result = fit(
        point,
        lambda m, goal: 1 + distance(m, goal),
        torch.tensor(0.0),
        optimiser,
        stopping=Stopping(tolerance=1e-2, patience=patience),
    )
    loss = [1 + 16 * 0.81**n for n in range(1, epochs + 1)]
    first = next(
        n for n in range(patience + 1, epochs) if loss[n - 1 - patience] - loss[n - 1] <
        1e-2 * loss[n - 1 - patience]
    )  # fmt: skip
    assert len(result.losses) == first


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_loss_that_is_not_finite_is_reported(name):
    rows = curve()
    rows.y[3] = math.nan
    with pytest.raises(NotTrained, match="look for outliers"):
        fit(net(), miss, rows, OPTIMISERS[name])


def test_a_validation_loss_that_is_not_finite_is_reported():
    with pytest.raises(NotTrained, match="The loss is nan after 1 epochs"):
        fit(Point(1.0), distance, torch.tensor(0.0), LBFGS(), validation=torch.tensor(math.nan))


@pytest.mark.parametrize("tenths", [0, 3, 7, 9])
def test_a_truncated_checkpoint_is_refused(tmp_path, tenths):
    path = tmp_path / "training"
    fit(net(), miss, curve(), OPTIMISERS["adam"], checkpoint=path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * tenths // 10])
    with pytest.raises(BadCheckpoint, match="truncated or not a checkpoint of a training"):
        fit(net(), miss, curve(), OPTIMISERS["adam"], checkpoint=path)


@pytest.mark.parametrize(
    ("model", "name"),
    [(Point(1.0), "adam"), (net(), "lbfgs"), (net(), "sgd with momentum"), (net().float(), "adam")],
    ids=["another model", "another optimiser", "another first-order one", "another precision"],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, model, name):
    path = tmp_path / "training"
    fit(net(), miss, curve(), OPTIMISERS["adam"], checkpoint=path)
    with pytest.raises(BadCheckpoint, match="is of another training"):
        fit(model, miss, curve(), OPTIMISERS[name], checkpoint=path)


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (dict(make=partial(torch.optim.Adam, lr=2e-2)), {}),
        (dict(rows=17), {}),
        (dict(seed=4), {}),
        ({}, dict(weight_decay=0.1)),
        ({}, dict(validation=curve(5))),
    ],
)
def test_a_training_does_not_go_on_with_other_arguments(tmp_path, change, options):
    path = tmp_path / "training"
    fit(net(), miss, curve(), OPTIMISERS["adam"], checkpoint=path)
    other = replace(OPTIMISERS["adam"], **change)
    with pytest.raises(BadCheckpoint, match="is of another training"):
        fit(net(), miss, curve(), other, checkpoint=path, **options)


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(ValueError, match="`batch` must have a length and take an index of rows"):
        fit(Point(1.0), distance, 3.0, FirstOrder(make=ADAM, epochs=1, rows=2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LBFGS(iterations=0), "`iterations` must be at least 1; it is 0"),
        (lambda: LBFGS(history=0), "`history` must be at least 1; it is 0"),
        (lambda: FirstOrder(make=ADAM, epochs=0), "`epochs` must be at least 1; it is 0"),
        (lambda: FirstOrder(make=ADAM, epochs=1, rows=0), "`rows` must be at least 1; it is 0"),
        (lambda: Stopping(patience=0), "`patience` must be at least 1; it is 0"),
        (lambda: Stopping(tolerance=math.nan), "`tolerance` must not be negative; it is nan"),
        (
            lambda: fit(Point(1.0), distance, 1.0, LBFGS(), weight_decay=math.nan),
            "`weight_decay` must not be negative; it is nan",
        ),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
