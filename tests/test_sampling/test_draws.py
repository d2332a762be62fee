"""The kernels' random numbers and elementary functions against published and exact values."""

import numpy as np

from sampling.kernels import draws


def test_generator_gives_the_published_first_numbers():
    # First outputs from the state (1, 2, 3, 4): test of the rand_xoshiro crate 0.6, made there
    # with the authors' C code, prng.di.unimi.it/xoshiro128plusplus.c.
    expected = [641, 1573767, 3222811527, 3517856514, 836907274, 4247214768, 3867114732]
    state = np.repeat(np.array([1, 2, 3, 4], np.uint32), 3)
    out = np.empty(3, np.uint32)
    for value in expected:
        draws.xoshiro128pp(state, out)
        assert (out == value).all()


def test_exponential_is_good_to_two_units_in_the_last_place():
    x = np.linspace(-87, 87, 40_001, dtype=np.float32)
    y = np.array([draws.exponential(value) for value in x], np.float64)
    assert np.abs(y / np.exp(x.astype(np.float64)) - 1).max() < 2 * np.finfo(np.float32).eps
    assert draws.exponential(np.float32(0)) == 1
    assert draws.exponential(np.float32(-1e9)) == draws.exponential(np.float32(-87)) > 0


def test_logarithm_is_good_to_single_precision():
    x = np.concatenate([np.logspace(-9.7, 0, 40_001), 1 - np.logspace(-7, -1, 1_001)])
    x = x.astype(np.float32)
    y = np.array([draws.minus_log(value) for value in x], np.float64)
    exact = -np.log(x.astype(np.float64))
    assert (np.abs(y - exact) < 2e-7 * (1 + exact)).all()
    assert draws.minus_log(np.float32(1)) == 0
    assert (y >= 0).all()
