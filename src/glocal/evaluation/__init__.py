"""Score any features under any transform; imports neither the objective nor the solver."""
