"""Score any features under any transform, without importing the objective or the solver."""
