"""What to search: one SPACE per file, named after its strategy."""
