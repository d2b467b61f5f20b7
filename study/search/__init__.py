"""What to try next: Optuna behind Tune's Searcher, samplers by name, early stopping, and the trials of a suite."""
