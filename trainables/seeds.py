"""One seed per purpose, derived from a root seed by hashing."""

import hashlib


def seed_for(root: int, purpose: str) -> int:
    """A 63-bit seed of its own for every purpose, so that a new use of chance shifts no other draw."""
    return int.from_bytes(hashlib.sha256(f"{root}/{purpose}".encode()).digest()[:8], "big") >> 1
