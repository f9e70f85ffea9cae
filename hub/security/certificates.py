"""When certificates end."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509


def expires_at(file: Path) -> float | None:
    """When the first of the certificates in a PEM file expires, in seconds since 1970; None when the file cannot be read."""
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError):
        return None
    return min(certificate.not_valid_after_utc.timestamp() for certificate in found)
