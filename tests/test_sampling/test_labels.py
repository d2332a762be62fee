"""Labels as JSON: every field under its own name, and null for what is unknown."""

import json
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from boxes import Q, ideal_gas

from idnn.order_parameters import FCC_L12
from sampling.ensemble import Schedule
from sampling.estimate import Estimate
from sampling.label import LabelTask, label
from sampling.labels import derivatives, is_known, to_json


@pytest.fixture(scope="module")
def point():
    """A label of which no two numbers are alike."""
    (found,) = label(LabelTask(
        expansion=ideal_gas(), system="fcc-L12", cells=(3,), temperature=1000.0,
        centre=np.array([[0.2, 0.3, 0.4, 0.5]]) @ Q.T, stiffness=np.full((1, 4), 3.0),
        point_seeds=(5,), seed=1, schedule=Schedule(walkers=6, sweeps=200, burn_in=3, stride=2),
    ))  # fmt: skip
    random = np.random.default_rng(0)

    def other(value):
        if isinstance(value, Estimate):
            return Estimate(other(value.value), other(value.stderr))
        return random.random(value.shape) if isinstance(value, np.ndarray) else value

    changed = {f.name: other(getattr(found, f.name)) for f in fields(found)}
    return replace(found, **changed | {"octant_excess": 1.25, "dropped": 8, "wall_s": 0.5})


def test_every_field_of_a_label_is_stored_under_its_name(point):
    expected = {}
    for field in fields(point):
        value = getattr(point, field.name)
        if isinstance(value, Estimate):
            expected[field.name] = value.value.tolist()
            expected[f"{field.name}_stderr"] = value.stderr.tolist()
        elif field.name == "schedule":
            expected |= asdict(value)
        else:
            expected[field.name] = value.tolist() if isinstance(value, np.ndarray) else value
    assert json.loads(json.dumps(to_json(point), allow_nan=False)) == expected


def test_what_is_unknown_is_null_and_only_that(point):
    stderr = np.array([0.1, np.nan, 0.2, np.inf])
    stored = to_json(replace(point, mu=replace(point.mu, stderr=stderr), octant_excess=np.nan))
    assert stored["mu_stderr"] == [0.1, None, 0.2, None]
    assert stored["octant_excess"] is None
    assert None not in stored["mu"]


@pytest.mark.parametrize("name", ["mu", "sublattice_stderr", "size_error"])
def test_what_is_unknown_of_mu_alone_keeps_a_label_from_training(point, name):
    stored = to_json(point)
    assert is_known(stored)
    assert is_known(stored | {"octant_excess": None, "hessian_stderr": [[None] * 4] * 4})
    unknown = stored | {name: [0.1, 0.1, None, 0.1]}
    assert not is_known(unknown)
    data = derivatives([unknown, stored], FCC_L12)
    assert data.eta.tolist() == [point.eta.value.tolist()]
    assert data.mu.tolist() == [point.mu.value.tolist()]
    expected = np.hypot(point.sublattice_stderr, point.size_error)
    np.testing.assert_allclose(data.sigma.numpy()[0], expected, rtol=1e-15)
    assert data.directions is not None
    np.testing.assert_allclose(data.directions.numpy(), Q / np.linalg.norm(Q, axis=0))
