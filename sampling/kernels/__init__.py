"""Monte Carlo kernels."""
