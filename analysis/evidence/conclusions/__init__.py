"""One conclusion per file: `CONCLUSION`, a `Conclusion` (docs/evidence.md says what each means)."""
