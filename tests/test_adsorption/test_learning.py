"""Learning from labels: better than the mean, honest about it, and the same after a stop."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hosts import densities, learned_densities, small_crystals, small_settings

from idnn import train
from idnn.adsorption.environments import environments
from idnn.adsorption.learning import ModelSettings, Table, _require_judges, divide, learn
from idnn.adsorption.network import AttentionNetwork
from idnn.adsorption.structures import supercell
from idnn.adsorption.tables import BadTable, read_labels
from idnn.adsorption.training import Samples, TrainingSettings
from idnn.adsorption.training import train as fit_network

CRYSTALS = small_crystals()
TABLE = densities(CRYSTALS)
SHORT = small_settings(steps=4)


def weights(model):
    return torch.cat([p.flatten() for member in model.members for p in member.parameters()])


def test_a_smooth_target_is_learned_far_better_than_the_mean():
    errors = learned_densities().card["errors_on_held_out"]["density"]
    assert errors["mean_absolute_error"] < 0.3 * errors["of_the_mean"]
    assert errors["r2"] > 0.85


def test_the_card_states_the_errors_of_crystals_that_were_held_out():
    model = learned_densities()
    held = {name: CRYSTALS[name] for name in model.card["held_out"]}
    assert model.card["learned"] == len(CRYSTALS) - len(held)
    assert len(held) == 5
    found = model.predict(held)
    truth = np.array([1e-3 * crystal.density for crystal in held.values()])
    others = [1e-3 * c.density for name, c in CRYSTALS.items() if name not in held]
    error = found.values[:, 0] - truth
    said = model.card["errors_on_held_out"]["density"]
    assert said["mean_absolute_error"] == pytest.approx(np.abs(error).mean())
    assert said["of_the_mean"] == pytest.approx(np.abs(truth - np.mean(others)).mean())
    assert said["r2"] == pytest.approx(1 - (error**2).mean() / truth.var())
    # The spread was scaled so that its square is that of the error.
    assert (found.stderr**2).mean() == pytest.approx((error**2).mean())
    within = np.abs(error) / found.stderr[:, 0]
    assert said["within_one_sigma"] == pytest.approx((within < 1).mean())
    assert said["within_two_sigma"] == pytest.approx((within < 2).mean())
    assert (said["lowest"], said["highest"]) == (TABLE.values.min(), TABLE.values.max())


def test_what_is_held_out_is_not_learned_from():
    model = learn(CRYSTALS, TABLE, SHORT)
    held = [TABLE.names.index(name) for name in model.card["held_out"]]
    changed = TABLE.values.copy()
    changed[held] += 3.0
    other = learn(CRYSTALS, replace(TABLE, values=changed), SHORT)
    assert torch.equal(weights(other), weights(model))
    assert torch.equal(other.wanted.mean, model.wanted.mean)
    changed[next(row for row in range(len(changed)) if row not in held)] += 0.1
    third = learn(CRYSTALS, replace(TABLE, values=changed), SHORT)
    assert not torch.equal(weights(third), weights(model))


def test_the_same_seed_gives_the_same_model_and_another_one_does_not():
    one, two = (learn(CRYSTALS, TABLE, SHORT) for _ in range(2))
    assert torch.equal(weights(one), weights(two))
    assert one.card == two.card
    other = learn(CRYSTALS, TABLE, replace(SHORT, seed=1))
    assert not torch.equal(weights(other), weights(one))
    assert other.card["held_out"] != one.card["held_out"]
    first, second = one.members
    assert not torch.equal(first.begin.weight, second.begin.weight)


def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    whole = learn(CRYSTALS, TABLE, SHORT)
    write, left = train.write_state, [5]

    def stop(path, state):
        write(path, state)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(train, "write_state", stop)
    with pytest.raises(KeyboardInterrupt):
        learn(CRYSTALS, TABLE, SHORT, directory=tmp_path)
    monkeypatch.setattr(train, "write_state", write)
    assert len(list(tmp_path.iterdir())) == 2
    again = learn(CRYSTALS, TABLE, SHORT, directory=tmp_path)
    assert torch.equal(weights(again), weights(whole))
    assert again.card == whole.card


def test_progress_is_told_stage_by_stage():
    told = []
    learn(CRYSTALS, TABLE, SHORT, observe=lambda *news: told.append(news))
    assert told[:21] == [("surroundings", n + 1, 21) for n in range(21)]
    epochs = told[21:]
    assert {stage for stage, _, _ in epochs} == {"member 1 of 2", "member 2 of 2"}
    assert [done for _, done, _ in epochs] == 2 * list(range(1, len(epochs) // 2 + 1))
    assert {total for _, _, total in epochs} == {len(epochs) // 2}


def test_missing_labels_are_left_out_and_the_others_learned():
    two = np.hstack([TABLE.values, 2 * TABLE.values])
    two[7, 1] = np.nan
    model = learn(CRYSTALS, replace(TABLE, targets=("a", "b"), values=two), SHORT)
    found = model.predict(CRYSTALS)
    assert found.values.shape == (21, 2)
    assert np.isfinite(found.values).all()
    assert np.isfinite(found.stderr).all()


def test_what_is_learned_beside_changes_the_networks_and_not_the_columns():
    without = replace(SHORT, training=replace(SHORT.training, knowledge=0.0))
    both = learn(CRYSTALS, TABLE, SHORT)
    assert both.members[0].of_knowns.out_features == 2
    plain = learn(CRYSTALS, TABLE, without)
    assert plain.members[0].of_knowns.out_features == 1
    assert plain.predict(CRYSTALS).targets == ("density",)
    more = replace(SHORT, training=replace(SHORT.training, knowledge=2.0))
    assert not torch.equal(weights(learn(CRYSTALS, TABLE, more)), weights(both))


def test_where_nothing_is_known_nothing_is_learned():
    windows = SHORT.training.network.windows
    around = tuple(environments(crystal, windows) for crystal in list(CRYSTALS.values())[:3])
    samples = Samples(around, torch.ones(3, 2), torch.full((3, 1), torch.nan))
    network = AttentionNetwork(SHORT.training.network, knowns=2, outputs=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    losses = fit_network(network, samples, replace(SHORT.training, decay=0.0), targets=1)
    assert set(losses) == {0.0}
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_predictions_do_not_depend_on_what_is_predicted_with_them():
    model = learned_densities()
    seen = []
    together = model.predict(CRYSTALS, at_once=7, observe=seen.append)
    assert seen == [7, 14, 21]
    alone = model.predict({"small5": CRYSTALS["small5"]})
    assert alone.values[0] == pytest.approx(together.values[5], rel=1e-5)
    assert model.predict({}).values.shape == (0, 1)


def test_elements_that_were_not_learned_from_are_named():
    crystal = CRYSTALS["small1"]
    strange = replace(crystal, numbers=np.where(crystal.numbers == 8, 34, crystal.numbers))
    found = learned_densities().predict({"known": crystal, "strange": strange})
    assert found.unseen == ((), ("Se",))


def test_contributions_of_atoms_and_the_rest_add_up_to_the_prediction():
    model, crystal = learned_densities(), CRYSTALS["small2"]
    one, two = (model.contributions(c) for c in (crystal, supercell(crystal, (1, 1, 2))))
    predicted = model.predict({"x": crystal}).values[0]
    for found, copies in ((one, 1), (two, 2)):
        assert found.sites.sum(0) + found.rest == pytest.approx(predicted, rel=1e-5)
        assert found.attention.shape == (2, 1, 2, 2 * copies)
        # Atoms that symmetry makes equal share alike.
        np.testing.assert_allclose(copies * found.sites, np.tile(one.sites, (copies, 1)), 1e-4)
        attention = np.tile(one.attention, (1, 1, 1, copies))
        np.testing.assert_allclose(copies * found.attention, attention, 1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_held_out_whole_until_the_share_is_reached(seed):
    groups = [f"g{n}" for n in np.random.default_rng(seed).integers(0, 12, 60)]
    kept, held = divide(groups, 0.2, seed)
    assert sorted([*kept, *held]) == list(range(60))
    outside, inside = ({groups[row] for row in rows} for rows in (kept, held))
    assert not outside & inside
    assert len(held) >= 0.2 * 60
    assert len(held) - max(groups.count(name) for name in inside) < 0.2 * 60


def test_of_two_groups_one_is_always_left_to_learn_from():
    kept, held = divide(["a"] * 9 + ["b"], 0.99, 0)
    assert len(kept)
    assert len(held)
    with pytest.raises(ValueError, match=r"`groups` must be at least 2.*there is only 'a'"):
        divide(["a", "a"], 0.5, 0)


def test_groups_of_the_table_are_kept_together():
    groups = tuple(str(n % 7) for n in range(21))
    model = learn(CRYSTALS, replace(TABLE, groups=groups), SHORT)
    held = {groups[TABLE.names.index(name)] for name in model.card["held_out"]}
    assert len(model.card["held_out"]) == 3 * len(held) == 6
    assert model.card["groups"] == 7


def few(count):
    names = TABLE.names[:count]
    return replace(
        TABLE, names=names, values=TABLE.values[:count], descriptors=np.zeros((count, 1))
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (few(19), "`table` must hold at least 20 crystals; it holds 19"),
        (replace(TABLE, names=("ghost", *TABLE.names[1:])), "1 are missing, the first ghost"),
        (replace(TABLE, values=np.ones((21, 1))), "`density` must be known of at least 20"),
        (
            replace(TABLE, values=np.where(np.arange(21)[:, None] < 2, np.nan, TABLE.values)),
            "it is known of 19",
        ),
    ],
)
def test_a_table_that_teaches_nothing_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        learn(CRYSTALS, table, SHORT)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (ModelSettings, {"members": 1}, "`members` must be at least 2; it is 1"),
        (ModelSettings, {"held_out": 0.0}, r"`held_out` must lie in \(0, 1\); it is 0.0"),
        (ModelSettings, {"held_out": float("nan")}, "`held_out` must lie"),
        *(
            (TrainingSettings, {name: 0}, f"`{name}` must be positive; it is 0")
            for name in ("epochs", "steps", "rows", "rate")
        ),
        (TrainingSettings, {"decay": -1.0}, "`decay` must not be negative; it is -1"),
        (TrainingSettings, {"knowledge": -1.0}, "`knowledge` must not be negative"),
        (TrainingSettings, {"rate": float("nan")}, "`rate` must be positive"),
    ],
)
def test_bad_settings_are_refused(kind, change, message):
    with pytest.raises(ValueError, match=message):
        kind(**change)


def test_labels_are_read_with_gaps(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("name,kind,a,b,c\none,x,1.5,,3\ntwo,y, 2e-1 ,4,\n")
    found = read_labels(path, targets=["b", "a"], beside=["c"], group="kind")
    assert isinstance(found, Table)
    assert found.names == ("one", "two")
    np.testing.assert_array_equal(found.values, [[np.nan, 1.5], [4.0, 0.2]])
    np.testing.assert_array_equal(found.descriptors, [[3.0], [np.nan]])
    assert found.groups == ("x", "y")
    assert found.source == "labels.csv"


@pytest.mark.parametrize(
    ("text", "wanted", "message"),
    [
        ("name,a\n", {}, "must have a row for each crystal; it has none"),
        ("name,b\nx,1\n", {}, "must have the columns name, a; a is missing of name, b"),
        ("name,a\nx,1\n", {"group": "top"}, "top is missing"),
        ("name,a\nx,1\n", {"beside": ["a"]}, "must be given once each; a is given more often"),
        ("name,a\nx,1\nx,2\n", {}, "must name each crystal once; it has x more often"),
        ("name,a\nx,high\n", {}, "`a` of x in .* must be a number or empty; it is 'high'"),
        ("name,a\nx,inf\n", {}, "`a` of x in .* must be finite; it is inf"),
        ("name,a\nx,nan\n", {}, "must be finite; it is nan: leave the field empty"),
        ("name,a\nx,\udcff\n", {}, "cannot be read"),
    ],
)
def test_a_bad_table_is_refused_by_column_and_row(text, wanted, message, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadTable, match=message):
        read_labels(path, targets=["a"], **wanted)


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadTable, match=r"none\.csv` cannot be read"):
        read_labels(tmp_path / "none.csv", targets=["a"])


def test_a_mark_of_encoding_and_empty_groups_are_read(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("name,a,kind\none,1,x\ntwo,2,\nthree,3,\n", encoding="utf-8-sig")
    found = read_labels(path, targets=["a"], group="kind")
    assert found.names == ("one", "two", "three")
    assert found.groups == ("x", "two", "three")


def test_a_crystal_without_a_name_is_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("name,a\none,1\n,2\n")
    with pytest.raises(BadTable, match="row 2 has an empty `name`"):
        read_labels(path, targets=["a"])


def test_a_target_that_no_held_out_crystal_has_is_refused():
    _, held = divide(TABLE.names, SHORT.held_out, SHORT.seed)
    values = np.hstack([TABLE.values, TABLE.values])
    values[held, 1] = np.nan
    with pytest.raises(ValueError, match="`b` must be known, and differ, of the 5 crystals"):
        _require_judges(replace(TABLE, targets=("a", "b"), values=values), held)


def test_what_is_learned_beside_must_be_known():
    table = replace(TABLE, descriptors=np.full_like(TABLE.descriptors, np.nan))
    with pytest.raises(ValueError, match="`volume` must be known of at least 20 crystals"):
        learn(CRYSTALS, table, SHORT)


def test_elements_that_no_network_knows_are_refused():
    heavy = replace(CRYSTALS["small0"], numbers=np.array([104, 8]))
    with pytest.raises(ValueError, match="elements up to atomic number 103; it holds 104"):
        learned_densities().predict({"heavy": heavy})
