"""One preset per file: a function whose keyword arguments are the strategy's knobs."""
