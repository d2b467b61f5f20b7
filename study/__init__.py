"""When and where things run: the rooms that know Ray, Optuna's samplers and MLflow's client."""
