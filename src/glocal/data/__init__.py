"""Features, triplets and how they meet: loading, joining by name, splitting, checking, simulating."""
