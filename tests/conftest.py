"""What all tests share."""

import os

os.environ.setdefault("RAY_ADDRESS", "local")  # a study joins the cluster of its machine; a test's has its own
