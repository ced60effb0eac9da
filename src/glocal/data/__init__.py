"""Features and answers: loading, joining by name, splitting, checking, simulating."""
