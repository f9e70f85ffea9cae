"""Whether a delivery comes from who it says: signatures, tokens and passwords of webhooks.

How a partner signs is data: what is signed (`signed`), with which hash, how the result is written, and where the parts stand in
the request (`Place`).  The checks are pure: they see a request, the keys and the time, and give a verdict.  They compare in
constant time, and try every key, so that how long they take tells nothing.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from hub.net.forms import Form, FormUnusable, is_form, read_form, read_query
from hub.units import Duration

BUILT_IN = ("body", "form", "files", "method", "timestamp", "url")
"""What `signed` may name besides `parts`."""
HASHES: dict[str, Callable[..., Any]] = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}
MOST_SIGNATURES = 20
"""Signatures of one request that are looked at."""
_NAMED = re.compile(r"\{(\w+)\}")

Reason = Literal[
    "", "no_signature", "wrong_signature", "no_timestamp", "stale", "unsigned_body", "unknown_hash", "unreadable"
]  # fmt: skip


class Verdict(NamedTuple):
    """Whether a request is good, and when it is not, why; one of a few words that tell nothing of the request."""

    good: bool
    reason: Reason = ""


GOOD = Verdict(True)


def _no_fields(_: str) -> list[str]:
    return []


@dataclass(frozen=True)
class Delivery:
    """A request as it arrived."""

    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    """Names in small letters."""
    method: str = "POST"
    url: str = ""
    """The address as the partner knows it, with the query as it came: from our settings, never from the Host header."""
    rest: str = ""
    """What the path has beyond the configured one."""
    read: Callable[[str], list[str]] = _no_fields
    """The values of the body at a dotted path."""

    def header(self, name: str) -> list[str]:
        """All values of a header; a star at the end of the name stands for any ending."""
        name = name.lower()
        if name.endswith("*"):
            return [value for known, value in self.headers if known.startswith(name[:-1])]
        return [value for known, value in self.headers if known == name]

    @property
    def content_type(self) -> str:
        return next(iter(self.header("content-type")), "")

    @functools.cached_property
    def query(self) -> list[tuple[str, str]]:
        """Raises FormUnusable."""
        return read_query(urlsplit(self.url).query)

    @functools.cached_property
    def form(self) -> Form | None:
        """None when the body is no form.  Raises FormUnusable."""
        return read_form(self.body, self.content_type) if is_form(self.content_type) else None


class Place(BaseModel):
    """Where something stands in a request: name one of header, query, field and segment."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9!#$%&'+.^_`|~-]+\*?$")
    """In this header; X-Signature-* is any header whose name begins so."""
    query: str | None = None
    """In this parameter of the URL."""
    field: str | None = None
    """In the body, JSON or a form, at this dotted path: data.envelopeId, events[1].id, or json.event.event_type where the field
    `json` of a form holds JSON."""
    segment: int | None = Field(default=None, ge=1, le=9)
    """In the path: 1 is the first segment after `path`."""
    among: str | None = Field(default=None, min_length=1, max_length=3)
    """It is one of several values in one text, with this between them."""
    after: list[str] = []
    """Only values that begin with one of these count, and what follows it is the value: `v1=`."""

    @model_validator(mode="after")
    def _one_place(self) -> Place:
        named = [name for name in ("header", "query", "field", "segment") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"expected one of header, query, field and segment, not {' and '.join(named) or 'none of them'}")
        return self

    def values(self, delivery: Delivery) -> list[str]:
        """What stands there, in order.  Raises FormUnusable when the request cannot be read there."""
        found = self._found(delivery)
        if self.among is not None:
            found = [part.strip() for text in found for part in text.split(self.among)]
        if self.after:
            found = [text.removeprefix(start) for text in found for start in self.after if text.startswith(start)]
        return found

    def _found(self, delivery: Delivery) -> list[str]:
        if self.header is not None:
            return delivery.header(self.header)
        if self.query is not None:
            return [value for name, value in delivery.query if name == self.query]
        if self.field is not None:
            return delivery.read(self.field)
        segments = [segment for segment in delivery.rest.split("/") if segment]
        return segments[(self.segment or 1) - 1 : self.segment]


class Verify(BaseModel):
    """How deliveries are known to come from the partner."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True, hide_input_in_errors=True)

    how: Literal["hmac", "prefixed_hash", "token", "basic", "unsigned"]
    """`hmac`: a signature over `signed`; `prefixed_hash`: a plain hash of the key followed by `signed`; `token`: a text both
    sides know; `basic`: user and password; `unsigned`: not at all, which needs a `reason`."""
    secrets: list[SecretStr] = []
    """The keys, tokens or passwords. While one is changed the old and the new one: either is good."""
    decode: Literal["no", "base64", "whsec"] = "no"
    """The partner gives its secrets in Base64 and signs with what they stand for; `whsec`: so too, with whsec_ before them."""
    user: str | None = None
    """With `basic`: the user."""
    reason: str | None = Field(default=None, min_length=8)
    """With `unsigned`: why nothing proves who sends, in a few words. Such deliveries are hints at most: look at the partner's
    side before anything is done."""
    signature: Place | None = None
    """Where the signature or token stands. Of several signatures one has to be good; of several tokens all."""
    signed: str = "{body}"
    """What is signed: {body}, {timestamp}, {method}, {url} (`public_url` with the query), {form} (names and values of a posted
    form, sorted), {files} (names and SHA-1 of its files, sorted), the names under `parts`, and text between them."""
    parts: dict[str, Place] = {}
    """Where further parts of `signed` stand, by name."""
    timestamp: Place | None = None
    """Where the time of the signature stands: seconds since 1970, or ISO 8601 with its zone."""
    timestamp_unit: Literal["s", "ms"] = "s"
    """Seconds or milliseconds."""
    tolerance: Duration = Field(default=300.0, gt=0)
    """How far that time may be from ours: older deliveries may have been recorded and sent again by somebody else."""
    hash: Literal["sha1", "sha256"] = "sha256"
    """Hash of the signature."""
    hash_name: Place | None = None
    """Where the request names its hash (HMAC_SHA1, sha256), when it may; else `hash` counts."""
    encoding: Literal["hex", "base64"] = "hex"
    """How the signature is written."""
    body_hash: Place | None = None
    """Where the SHA-256 (hex) of a body that is no form stands, when {url} and {form} are signed and {body} is not."""

    @field_validator("secrets")
    @classmethod
    def _not_empty(cls, secrets: list[SecretStr]) -> list[SecretStr]:
        if not all(secret.get_secret_value().strip() for secret in secrets):
            raise ValueError("a secret is empty: everybody would know it")
        return secrets

    @field_validator("signed")
    @classmethod
    def _braces_are_names(cls, signed: str) -> str:
        if re.search("[{}]", _NAMED.sub("", signed)):
            raise ValueError("a brace has no counterpart; parts are written {body}")
        return signed

    @model_validator(mode="after")
    def _is_whole(self) -> Verify:
        missing = [name for name in _NEEDS[self.how] if not getattr(self, name)]
        if missing:
            raise ValueError(f"`{self.how}` needs {' and '.join(f'`{name}`' for name in missing)}")
        names = self.named
        if unknown := [name for name in names if name not in (*BUILT_IN, *self.parts)]:
            raise ValueError(f"`signed` names {unknown[0]!r}, which is neither under `parts` nor one of {', '.join(BUILT_IN)}")
        if idle := [name for name in self.parts if name not in names]:
            raise ValueError(f"`parts` has {idle[0]!r}, and `signed` does not name it")
        if ("timestamp" in names) != (self.timestamp is not None):
            raise ValueError("`timestamp` says where the {timestamp} of `signed` stands: both or neither")
        self.key_bytes()
        return self

    @property
    def named(self) -> list[str]:
        """The parts `signed` names."""
        return _NAMED.findall(self.signed)

    @property
    def signs_url(self) -> bool:
        return self.how in ("hmac", "prefixed_hash") and "url" in self.named

    def key_bytes(self) -> list[bytes]:
        """The keys as bytes.  Raises ValueError, worded without them."""
        return [_key(key.get_secret_value(), self.decode) for key in self.secrets]


_NEEDS: dict[str, tuple[str, ...]] = {
    "hmac": ("secrets", "signature"),
    "prefixed_hash": ("secrets", "signature"),
    "token": ("secrets", "signature"),
    "basic": ("secrets", "user"),
    "unsigned": ("reason",),
}


def _key(text: str, decode: str) -> bytes:
    if decode == "no":
        return text.encode()
    try:
        decoded = base64.b64decode(text.removeprefix("whsec_") if decode == "whsec" else text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a secret is not the Base64 that `decode` says it is") from None
    if not decoded:
        raise ValueError("a secret is empty: everybody would know it")
    return decoded


def verify(how: Verify, delivery: Delivery, now: float) -> Verdict:
    """Whether a delivery is from the partner; `now` is in seconds since 1970.  Total: any bytes give a verdict."""
    try:
        return _CHECKS[how.how](how, delivery, now)
    except FormUnusable:
        return Verdict(False, "unreadable")


def signature_of(how: Verify, delivery: Delivery) -> str:
    """What makes a delivery recognisable when it is sent again exactly as it was: its signatures; empty without any."""
    if how.how not in ("hmac", "prefixed_hash") or how.signature is None:
        return ""
    return " ".join(how.signature.values(delivery)[:MOST_SIGNATURES])


# Signatures.


def _signature(how: Verify, delivery: Delivery, now: float) -> Verdict:
    assert how.signature is not None  # noqa: S101 - Verify sees to it
    given = how.signature.values(delivery)[:MOST_SIGNATURES]
    if not given:
        return Verdict(False, "no_signature")
    if (name := _hash_name(how, delivery)) not in HASHES:
        return Verdict(False, "unknown_hash")
    parts = dict(_parts(how, delivery))
    if missing := next((part for part, values in parts.items() if len(values) != 1), None):
        return Verdict(False, "no_timestamp" if missing == "timestamp" else "no_signature")
    if how.timestamp is not None and (reason := _age(how, parts["timestamp"][0].decode("utf-8", "replace"), now)):
        return Verdict(False, reason)
    if not _covers_body(how, delivery):
        return Verdict(False, "unsigned_body")
    expected = [_written(how, name, key, text) for key, text in product(how.key_bytes(), _signed(how, delivery, parts))]
    candidates = [text.lower() if how.encoding == "hex" else text for text in given]
    return GOOD if _any_same(expected, candidates) else Verdict(False, "wrong_signature")


def _hash_name(how: Verify, delivery: Delivery) -> str:
    named = how.hash_name.values(delivery) if how.hash_name is not None else []
    return named[0].strip().lower().removeprefix("hmac_").removeprefix("hmac-").replace("-", "") if named else how.hash


def _parts(how: Verify, delivery: Delivery) -> Iterator[tuple[str, list[bytes]]]:
    """Each part that stands somewhere in the request, with the values found there; it has to be one."""
    places = {**how.parts, **({"timestamp": how.timestamp} if how.timestamp is not None else {})}
    for name, place in places.items():
        yield name, [value.encode("utf-8", "surrogateescape") for value in dict.fromkeys(place.values(delivery))]


def _age(how: Verify, text: str, now: float) -> Reason:
    moment = _moment(text, how.timestamp_unit)
    if moment is None:
        return "no_timestamp"
    return "stale" if abs(now - moment) > how.tolerance else ""


def _moment(text: str, unit: str) -> float | None:
    if re.fullmatch("[0-9]{1,16}", text):
        return int(text) / (1000 if unit == "ms" else 1)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def _covers_body(how: Verify, delivery: Delivery) -> bool:
    """True when a signed form or URL speaks for the whole body."""
    if "body" in how.named or not {"url", "form"} & set(how.named) or not delivery.body:
        return True
    if delivery.method == "GET" and "url" in how.named:
        return True
    if "form" in how.named and delivery.form is not None:
        return not delivery.form.files or "files" in how.named
    if how.body_hash is None:
        return False
    expected = [hashlib.sha256(delivery.body).hexdigest()]
    return _any_same(expected, [value.lower() for value in how.body_hash.values(delivery)][:1])


def _signed(how: Verify, delivery: Delivery, parts: dict[str, list[bytes]]) -> list[bytes]:
    """What may have been signed: with a URL, the URL with and without the port that goes without saying."""
    pieces = _NAMED.split(how.signed)
    urls = _with_and_without_port(delivery.url) if "url" in how.named else [""]
    return [
        b"".join(
            _part(piece, delivery, url, parts) if number % 2 else piece.encode("utf-8") for number, piece in enumerate(pieces)
        )
        for url in urls
    ]


def _part(name: str, delivery: Delivery, url: str, parts: dict[str, list[bytes]]) -> bytes:
    match name:
        case _ if name in parts:
            return parts[name][0]
        case "body":
            return delivery.body
        case "method":
            return delivery.method.encode()
        case "url":
            return url.encode()
        case "form":
            return "".join(map("".join, sorted(set(delivery.form.fields)))).encode() if delivery.form else b""
        case _:
            files = delivery.form.files if delivery.form else []
            return "".join(sorted(file.name + hashlib.sha1(file.body).hexdigest() for file in files)).encode()  # noqa: S324


def _with_and_without_port(url: str) -> list[str]:
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    if parts.port is None:
        return [url, parts._replace(netloc=f"{parts.netloc}:{usual}").geturl()]
    return [url, parts._replace(netloc=parts.netloc.rpartition(":")[0]).geturl()]


def _written(how: Verify, name: str, key: bytes, text: bytes) -> str:
    hash = HASHES[name]
    digest = hmac.new(key, text, hash).digest() if how.how == "hmac" else hash(key + text).digest()
    return digest.hex() if how.encoding == "hex" else base64.b64encode(digest).decode()


def _any_same(expected: Iterable[str], given: Sequence[str]) -> bool:
    """Compares each with each, whatever comes out."""
    same = False
    for one, other in product(list(expected), given):
        same |= hmac.compare_digest(one.encode(), other.encode("utf-8", "surrogateescape"))
    return same


# Tokens and passwords.


def _token(how: Verify, delivery: Delivery, now: float) -> Verdict:  # noqa: ARG001 - as all checks
    assert how.signature is not None  # noqa: S101 - Verify sees to it
    given = how.signature.values(delivery)
    if not given:
        return Verdict(False, "no_signature")
    keys = [key.decode("utf-8", "surrogateescape") for key in how.key_bytes()]
    wrong = sum(not _any_same(keys, [value]) for value in given)
    return Verdict(False, "wrong_signature") if wrong else GOOD


def _basic(how: Verify, delivery: Delivery, now: float) -> Verdict:  # noqa: ARG001 - as all checks
    given = delivery.header("authorization")
    if not given:
        return Verdict(False, "no_signature")
    scheme, _, text = given[0].partition(" ")
    expected = [base64.b64encode(f"{how.user}:".encode() + key).decode() for key in how.key_bytes()]
    same = _any_same(expected, [text.strip()])
    return GOOD if same and scheme.lower() == "basic" and len(given) == 1 else Verdict(False, "wrong_signature")


def _unsigned(how: Verify, delivery: Delivery, now: float) -> Verdict:  # noqa: ARG001 - as all checks
    return GOOD


_CHECKS: dict[str, Callable[[Verify, Delivery, float], Verdict]] = {
    "hmac": _signature,
    "prefixed_hash": _signature,
    "token": _token,
    "basic": _basic,
    "unsigned": _unsigned,
}
