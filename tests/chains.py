"""Made-up chains of known mean, variance and correlation time for the tests of estimators."""

import numpy as np


def autoregressive(rho, shape, seed=0):
    """Chains x' = ρx + noise of unit variance, stationary, [batch, sample, walker, 1]."""
    rng = np.random.default_rng(seed)
    batch, samples, walkers = shape
    x = rng.normal(size=(batch, walkers))
    chain = []
    for _ in range(samples):
        x = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=x.shape)
        chain.append(x)
    return np.stack(chain, 1)[..., None]
