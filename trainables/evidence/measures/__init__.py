"""One measure per file: `MEASURE`, a `Measure` (docs/evidence.md says what each means)."""
