"""When and where things run: the rooms that know Ray, Optuna's samplers and MLflow's client."""

import os
from pathlib import Path

# Ray reads this when it is imported, and to a cluster with an address it shows a token only when asked.
if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ) or (Path.home() / ".ray" / "auth_token").exists():
    os.environ.setdefault("RAY_AUTH_MODE", "token")
