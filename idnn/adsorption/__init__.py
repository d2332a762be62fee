"""Gas adsorption in porous crystals: structures, what they hold, and models of it."""
