"""What a clinic file says about an SFTP connection."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from hub.connector import DestinationConfig, SourceConfig
from hub.net.files import NameTemplate
from hub.units import Duration, Size

HOST_KEY = "expected the line of a public key, such as ssh-ed25519 AAAA..., or its fingerprint, such as SHA256:47DE..."
_TYPE = r"(?:ssh|ecdsa|rsa)-[a-z0-9-]+"


class Pin(NamedTuple):
    """A host key that is trusted."""

    type: str
    """ssh-ed25519, ssh-rsa ...; empty when only a fingerprint was given."""
    fingerprint: str
    """SHA-256 of the key, as OpenSSH writes it."""


def fingerprint_of(key: bytes) -> str:
    """The fingerprint of a public key's bytes, as `ssh-keygen -l` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def parse_pin(text: str) -> Pin:
    """Reads `SHA256:...`, `ssh-rsa SHA256:...`, the line of a .pub file or of known_hosts.  Raises ValueError."""
    words = text.split()
    if found := re.fullmatch(rf"(?:({_TYPE})\s+)?(SHA256:[A-Za-z0-9+/]{{43}})=?", text.strip()):
        return Pin(found[1] or "", found[2])
    at = next((number for number, word in enumerate(words[:2]) if re.fullmatch(_TYPE, word)), None)
    if at is None or len(words) < at + 2:
        raise ValueError(HOST_KEY)
    try:
        key = base64.b64decode(words[at + 1], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(HOST_KEY) from None
    if not key[4:].startswith(words[at].encode()):
        raise ValueError(f"the key is none of type {words[at]}, or a part of it is missing; {HOST_KEY}")
    return Pin(words[at], fingerprint_of(key))


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


class SftpConfig(SourceConfig, DestinationConfig):
    """A folder on a partner's SFTP server to read messages from, or to write them to."""

    host: str = Field(min_length=1)
    """The partner's server."""
    port: int = Field(default=22, ge=1, le=65535)
    """Its port."""
    user: str = Field(min_length=1)
    """Who we are there."""
    password: SecretStr | None = None
    """Our password, when the partner wants one; with a key as well, both are shown."""
    private_key: SecretStr | None = None
    """Our private key in PEM or OpenSSH form: {$file: id_ed25519}."""
    passphrase: SecretStr | None = None
    """What the private key is locked with."""
    host_key: Annotated[list[str], BeforeValidator(_one_or_more)] = []
    """The key by which the server is known, got from the partner by another way: its line (ssh-ed25519 AAAA...) or its
    fingerprint (SHA256:..., with the type before it where the server has several keys). While the partner changes its key, a
    list of both. Without it nothing is sent or fetched; `hub check --connect` shows the key that the
    server has."""
    path: str = Field(default=".", min_length=1, pattern=r"^[^\x00]+$")
    """The folder on the server; `.` is where we are after the login."""
    pattern: str = Field(default="*", pattern=r"^[^/\x00]+$")
    """Which files of the folder to take, by their names: *.edi. What lies in folders inside it is never taken."""
    format: str = "x12"
    """What the files hold: hl7v2, x12 or bytes."""
    every: Duration = Field(default=60.0, gt=0)
    """How often to look."""
    stable_for: Duration = Field(default=10.0, ge=0)
    """How long size and time of a file must not have changed before it is taken."""
    done_marker: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,40}$")
    """Ending of the file by which the partner says that another one is whole: with .done, a.edi is taken when there is
    a.edi.done or a.done. Default: none is needed."""
    after: Literal["delete", "move", "keep"] = "delete"
    """What happens to a file the hub owns: delete it, move it to `moved_to`, or leave it where it is."""
    moved_to: str = Field(default="done", pattern=r"^[^\x00]+$")
    """The folder on the server for `after: move`, inside `path` unless it begins with /; made when it is missing."""
    claim: bool = True
    """Give a file a name of our own before it is read, so that of several hubs one takes it. Needs the right to rename; with
    `after: keep` nothing is renamed."""
    claim_for: Duration = Field(default=300.0, gt=0)
    """After this time another hub goes on with a file whose hub has claimed it and not finished it."""
    max_size: Size = Field(default=64 * 1024 * 1024, ge=1024)
    """Longest file; a longer one stays where it is, and the status says so."""
    name: NameTemplate = Field(default="{id}.edi", max_length=120)
    """Name of files that are written; {id} is the message's id, without which one would replace another, {type} its type."""
    charset: str | None = None
    """Charset of the files, over what they say themselves."""
    timeout: Duration = Field(default=20.0, gt=0)
    """How long the server may be silent."""
    file_timeout: Duration = Field(default=600.0, gt=0)
    """How long one file, or one list of files, may take on its way."""
    legacy_algorithms: str | None = Field(default=None, min_length=1)
    """Why this partner may use algorithms that are not safe any more (SHA-1, CBC), in a few words. Default: it may not."""

    @property
    def pins(self) -> list[Pin]:
        return [parse_pin(text) for text in self.host_key]

    @field_validator("host_key")
    @classmethod
    def _are_keys(cls, keys: list[str]) -> list[str]:
        for key in keys:
            parse_pin(key)
        return keys

    @model_validator(mode="after")
    def _can_log_in(self) -> SftpConfig:
        if self.password is None and self.private_key is None:
            raise ValueError("a connection needs `password` or `private_key`")
        if self.passphrase is not None and self.private_key is None:
            raise ValueError("`passphrase` belongs to a `private_key`, and there is none")
        if self.after == "keep" and not self.remember_for:
            raise ValueError("with `after: keep` only `remember_for` tells which files were taken; it must not be 0s")
        return self
