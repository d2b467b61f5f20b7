"""When and where things run: the rooms that know Ray, Optuna's samplers and MLflow's client."""

import os
import sys
from pathlib import Path

# Ray shows a cluster its token only when asked to, and reads this once, when it is imported.
if "ray" not in sys.modules and (
    {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ) or (Path.home() / ".ray" / "auth_token").exists()
):
    os.environ.setdefault("RAY_AUTH_MODE", "token")
# Workers start in another folder than their driver.
if os.environ.get("LETHE_CACHE"):
    os.environ["LETHE_CACHE"] = str(Path(os.environ["LETHE_CACHE"]).absolute())
# By default a task whose machine runs low on memory is tried again without end. Read when Ray is imported, too.
os.environ.setdefault("RAY_task_oom_retries", "3")
