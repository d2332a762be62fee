"""Atomistic statistics: cluster expansions, biased Monte Carlo and active learning."""
