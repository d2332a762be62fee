"""Periodic spectral Cahn–Hilliard/Allen–Cahn solver."""
