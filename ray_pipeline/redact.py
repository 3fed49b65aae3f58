"""Keep secrets out of texts that are logged, stored or shown."""

import hashlib
from collections.abc import Iterable

SHORTEST = 4  # characters; a shorter "secret" would take ordinary words out of every text


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every secret, and each part of a user:password pair, replaced."""
    for secret in secrets:
        for part in sorted({secret, *secret.split(":")}, key=len, reverse=True):
            if len(part) >= SHORTEST:
                text = text.replace(part, "***")
    return text


def fingerprint(key: str) -> str:
    """Return a name for a key that does not tell the key; the empty one for no key."""
    return hashlib.sha256(key.encode()).hexdigest()[:10] if key else ""
