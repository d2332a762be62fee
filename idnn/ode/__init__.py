"""Batched, differentiable solvers of ordinary differential equations, stiff ones first."""
