"""Networks that are fitted, not searched for: references, and the weights of a finished trial."""
