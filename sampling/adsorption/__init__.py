"""Adsorption in rigid porous crystals: Henry coefficients, isotherms, heats, and their labels."""
