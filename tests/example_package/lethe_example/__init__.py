"""What a package can add to Lethe: one thing of each kind, found by the entry points in pyproject.toml."""
