"""Ray's workers in the tests: MONAI takes a third of the time to import without what no trial uses of it."""

import sys

if any("default_worker.py" in word for word in sys.orig_argv):
    sys.modules |= dict.fromkeys(("mlflow", "matplotlib", "sklearn", "skimage", "ignite"))
