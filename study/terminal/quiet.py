"""The chatter of the libraries: hidden, as the terminal shows what a user needs of it."""

import logging
import os
import warnings


def quiet(verbose: bool) -> None:
    """Hide the chatter, unless it is asked for; most libraries must be told before they are imported."""
    if verbose:
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", "All-NaN slice")  # halving, where no trial has a score yet
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the view tells of trials that fail
    logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)  # and of a store that cannot be written
