"""Listeners that require credentials, in addition to the open one; for the tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCRAM = "SCRAM-SHA-512"
PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """
    The users of a broker and its TLS certificate.

    Attributes:
        users: User -> password, for PLAIN and for SCRAM-SHA-512 alike.
        certificate: PEM file with the broker's unencrypted PKCS 8 key, its certificate and the
            CA's, in this order; None for a broker without TLS.
    """

    users: Mapping[str, str]
    certificate: Path | None = None


def protected(security: KafkaSecurity | None) -> tuple[str, ...]:
    """Return the protocols of the listeners that require credentials, one listener each."""
    if security is None:
        return ()
    return ("SASL_PLAINTEXT",) if security.certificate is None else ("SASL_PLAINTEXT", "SASL_SSL")


def properties(security: KafkaSecurity | None) -> dict[str, str]:
    """Return the lines of the broker's configuration."""
    if security is None:
        return {}
    plain = " ".join(f'user_{user}="{password}"' for user, password in security.users.items())
    lines = {"sasl.enabled.mechanisms": f"PLAIN,{SCRAM}"}
    for protocol in protected(security):
        listener = f"listener.name.{protocol.lower()}"
        lines[f"{listener}.plain.sasl.jaas.config"] = f"{PLAIN_MODULE} required {plain};"
        lines[f"{listener}.{SCRAM.lower()}.sasl.jaas.config"] = f"{SCRAM_MODULE} required;"
    if security.certificate is not None:
        lines |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(security.certificate),
        }
    return lines


def format_arguments(security: KafkaSecurity | None) -> list[str]:
    """Return the arguments that give a new storage its SCRAM users."""
    if security is None:
        return []
    return [
        argument
        for user, password in security.users.items()
        for argument in ("--add-scram", f"{SCRAM}=[name={user},password={password}]")
    ]
