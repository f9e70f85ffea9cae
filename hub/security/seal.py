"""The only door between patient data and the store: bodies are sealed, ids are turned into keyed digests.

The clinic's key (a file of its own, made by `hub init`) encrypts nothing but the data keys: one random key for each UTC day,
kept wrapped in the store.  A sealed value is

    version (1) | data key id (4) | nonce (12) | AES-256-GCM ciphertext and tag

and bound to its place: table, row and column are the additional data, so a value that is moved does not open.  Ids by which
people search are HMAC-SHA-256, under a key for each kind of id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import io
import itertools
import os
import stat
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hub.errors import ConfigError, HubError, Problem

VERSION = 1
_KNOWN_IDS = 1024
"""Ids whose digest is remembered: what comes of a message is filed under the same ones a moment later."""
_MARK = "clinic-hub-key-1"
_HEAD, _TAG = 17, 16
"""Bytes before and behind the ciphertext of a sealed value."""
_PIECE = 1024 * 1024
"""Bytes of a large value that are sealed or opened at a time."""


KeyT = TypeVar("KeyT")


class SealBroken(HubError):
    """A sealed value does not open: it was changed, moved, or belongs to another key."""

    code = "SEC-001"


def new_key() -> bytes:
    return os.urandom(32)


def write_key(path: Path, key: bytes) -> None:
    """Writes a key file that only its owner may read; never over an existing one."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f"{_MARK} {base64.b64encode(key).decode()}\n")
        file.flush()
        os.fsync(file.fileno())


def read_key(path: Path) -> bytes:
    """Raises ConfigError saying what is wrong with the key file."""
    try:
        mode = path.stat().st_mode
        mark, _, text = path.read_text(encoding="ascii").strip().partition(" ")
        key = base64.b64decode(text, validate=True)
    except FileNotFoundError:
        raise _no_key(
            "SEC-002", path, "there is no key file", "`hub init` makes one; put the one of this store back if it was lost"
        ) from None
    except (OSError, UnicodeDecodeError, binascii.Error):
        raise _no_key("SEC-003", path, "the key file cannot be read", "put the one of this store back") from None
    if mark != _MARK or len(key) != 32:
        raise _no_key("SEC-003", path, "this is no key file", "put the one of this store back")
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _no_key("SEC-004", path, "other users can read the key file", f"chmod 600 {path}")
    return key


def _no_key(code: str, path: Path, text: str, help: str) -> ConfigError:
    return ConfigError(f"{path}: {text}; {help}", code=code, problems=[Problem(code, text, str(path), help=help)])


class Seal:
    """Seals and opens values, and digests ids, with the clinic's key."""

    def __init__(self, key: bytes) -> None:
        self._wrapping = AESGCM(_derive(key, b"wrap data keys"))
        self._index = _derive(key, b"index")
        self._content = _derive(key, b"content")
        self._keys: dict[int, AESGCM] = {}
        self._for_pieces: dict[int, AES] = {}
        self._day = 0
        self._current = 0
        self._macs: dict[str, tuple[hashlib._Hash, hashlib._Hash]] = {}
        self.mac = lru_cache(maxsize=_KNOWN_IDS)(self._mac)
        """A keyed digest of an id, 22 characters; the same id of another kind gives another one."""
        self._nonce = os.urandom(8)
        self._sealed = itertools.count()

    @property
    def check(self) -> str:
        """Tells keys apart without telling anything about them."""
        return self.mac("check", "clinic hub")

    # Data keys.

    def load(self, wrapped: dict[int, bytes]) -> None:
        """Takes the data keys of the store; raises SealBroken when they belong to another key."""
        for number, blob in wrapped.items():
            try:
                key = self._wrapping.decrypt(blob[:12], blob[12:], b"data_key|%d" % number)
            except InvalidTag:
                raise SealBroken("the store was made with another key; put the right key file back") from None
            self._keys[number], self._for_pieces[number] = AESGCM(key), AES(key)
        self._day = 0

    def missing_days(self, now: datetime) -> list[int]:
        """Today and tomorrow, as far as there is no data key for them yet."""
        days = (now.astimezone(UTC).date() + timedelta(days=ahead) for ahead in (0, 1))
        return [number for day in days if (number := _number(day)) not in self._keys]

    def new_data_key(self, number: int) -> bytes:
        """A data key for a day, wrapped; it counts once `load` has been given it back from the store."""
        nonce = os.urandom(12)
        return nonce + self._wrapping.encrypt(nonce, os.urandom(32), b"data_key|%d" % number)

    def _today(self) -> int:
        """The newest data key that is not of a later day."""
        day = _number(datetime.now(UTC).date())
        if day != self._day:
            self._current = max((number for number in self._keys if number <= day), default=max(self._keys, default=0))
            self._day = day
        return self._current

    # Values.

    def seal(self, plain: bytes, place: str) -> bytes:
        number = self._today()
        nonce = self._next_nonce()
        sealed = self._keys[number].encrypt(nonce, plain, place.encode())
        return _head(number, nonce) + sealed

    def seal_in_pieces(self, plain: bytes, place: str) -> Iterator[bytes]:
        """What `seal` gives, for values too large to have them twice in memory."""
        number = self._today()
        nonce = self._next_nonce()
        work = Cipher(self._for_pieces[number], GCM(nonce)).encryptor()
        work.authenticate_additional_data(place.encode())
        yield _head(number, nonce)
        whole = memoryview(plain)
        for start in range(0, len(plain), _PIECE):
            yield work.update(whole[start : start + _PIECE])
        yield work.finalize()
        yield work.tag

    def _next_nonce(self) -> bytes:
        """Never the same twice: 64 bits at random for each start of a hub, then a counter (NIST SP 800-38D, 8.2.1)."""
        count = next(self._sealed)
        if count >> 32:
            self._nonce, self._sealed = os.urandom(8), itertools.count(1)
            count = 0
        return self._nonce + count.to_bytes(4, "big")

    def open(self, sealed: bytes, place: str) -> bytes:
        """Raises SealBroken."""
        key = self._key_of(self._keys, sealed[:_HEAD], len(sealed), place)
        try:
            return key.decrypt(sealed[5:_HEAD], sealed[_HEAD:], place.encode())
        except InvalidTag:
            raise _changed(place) from None

    def open_file(self, file: BinaryIO, place: str) -> bytes:
        """What `open` gives for the content of a file, which is in memory once; raises SealBroken."""
        size, head = os.fstat(file.fileno()).st_size, file.read(_HEAD)
        key = self._key_of(self._for_pieces, head, size, place)
        work = Cipher(key, GCM(head[5:])).decryptor()
        work.authenticate_additional_data(place.encode())
        plain, left = io.BytesIO(), size - _HEAD - _TAG
        while left:
            piece = file.read(min(left, _PIECE))
            left -= len(piece) or left  # a file that ends early does not verify
            plain.write(work.update(piece))
        try:
            work.finalize_with_tag(file.read(_TAG).ljust(_TAG))
        except InvalidTag:
            raise _changed(place) from None
        return plain.getvalue()

    @staticmethod
    def _key_of(keys: dict[int, KeyT], head: bytes, size: int, place: str) -> KeyT:
        if size < _HEAD + _TAG or len(head) < _HEAD or head[0] != VERSION:
            raise SealBroken(f"the value at {place.split('|', maxsplit=1)[0]} is not sealed as this hub does it")
        key = keys.get(int.from_bytes(head[1:5], "big"))
        if key is None:
            raise SealBroken(f"the data key for a value at {place.split('|', maxsplit=1)[0]} is gone")
        return key

    # Ids.

    def _mac(self, kind: str, value: str) -> str:
        begun = self._macs.get(kind)
        if begun is None:
            begun = self._macs[kind] = _begin_hmac(hmac.digest(self._index, kind.encode(), "sha256"))
        inner, outer = begun[0].copy(), begun[1].copy()
        inner.update(value.encode())
        outer.update(inner.digest())
        return base64.urlsafe_b64encode(outer.digest()[:16]).decode().rstrip("=")

    def digest(self, content: bytes) -> bytes:
        """A keyed digest of a body: equal for equal bodies, telling nothing about them."""
        return hashlib.blake2b(content, key=self._content, digest_size=16).digest()


def _head(number: int, nonce: bytes) -> bytes:
    return b"%c%b%b" % (VERSION, number.to_bytes(4, "big"), nonce)


def _changed(place: str) -> SealBroken:
    return SealBroken(f"a value at {place.split('|', maxsplit=1)[0]} was changed or moved")


def _begin_hmac(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """The two hashes of HMAC-SHA-256 (RFC 2104) with the key taken in.  Going on from copies of them costs a tenth of
    `hmac.digest`, which lets other threads run in between and then waits for its turn.
    """
    block = key.ljust(64, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in block)), hashlib.sha256(bytes(byte ^ 0x5C for byte in block))


def _number(day: date) -> int:
    return day.year * 10000 + day.month * 100 + day.day


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"clinic-hub|" + purpose).derive(key)
