"""Numbers of accounts."""

import hashlib


def account_id(name: str) -> str:
    """Return the number of an account: the same one in any spelling."""
    return str(int(hashlib.sha256(name.lower().encode()).hexdigest()[:12], 16))
