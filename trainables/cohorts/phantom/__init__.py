"""A procedural brain cohort: Lethe's default, generated from a seed, nobody's anatomy and nobody's data."""
