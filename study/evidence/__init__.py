"""Evidence of forgetting, gathered once the trials are done."""
