"""Features, answers and how they meet: loading, joining by name, splitting, checking, simulating."""
