"""Resumable work: a folder of keyed tasks, an output made beside its place, and one runner, here or on a cluster."""
