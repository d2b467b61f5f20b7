"""The parts that strategies are made of: what each batch is taught, and which weights move (docs/science.md)."""
