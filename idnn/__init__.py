"""Integrable deep neural networks: free energies learned from their derivatives."""
