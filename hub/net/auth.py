"""Who we are to a partner's HTTP interface: a key, a password, or an OAuth2 token that is fetched as needed."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, NamedTuple

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_token_request
from authlib.oauth2.rfc6749.wrappers import OAuth2Token
from authlib.oauth2.rfc7523 import JWTBearerGrant
from joserfc.jwk import ECKey, RSAKey
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e\t]*$")]
"""What may stand in a header (RFC 9110, section 5)."""

REFUSALS = (
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
)
"""Why there is no token (RFC 6749, section 5.2); other words of a partner are not told, they may hold secrets."""
GRANTS: dict[str, str] = {
    "client_credentials": "client_credentials",
    "jwt_bearer": JWTBearerGrant.GRANT_TYPE,
    "assertion": JWTBearerGrant.GRANT_TYPE,
}
"""By our names of them, what a request says for them (RFC 6749, section 4.4; RFC 7523, section 2.1)."""
ASSERTION_LIVES = 300
"""Seconds for which an assertion that we sign is good; it is used at once."""
LEEWAY = 10
"""Seconds before its end from which a token is not used any more."""


class HttpAuth(BaseModel):
    """How to prove who we are.  What is filled in decides: OAuth2, basic, or a key in a header."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True, hide_input_in_errors=True)

    token_url: str | None = None
    """OAuth2: where to fetch the token."""
    grant: Literal["client_credentials", "jwt_bearer", "assertion"] = "client_credentials"
    """OAuth2: what a token is given for. `client_credentials`: id and secret; `jwt_bearer`: an assertion that we sign with
    `private_key` (RFC 7523); `assertion`: one that the vendor has signed and handed out."""
    client_id: str | None = None
    """OAuth2 client id."""
    client_secret: SecretStr | None = None
    """OAuth2 client secret."""
    scope: str | None = None
    """OAuth2 scope; with some vendors it decides between test and production."""
    private_key: SecretStr | None = None
    """OAuth2 with `jwt_bearer`: our private key in PEM form; the vendor has its public half."""
    algorithm: Literal["RS256", "RS384", "ES256", "ES384"] = "RS256"
    """OAuth2 with `jwt_bearer`: how the assertion is signed (RFC 7518)."""
    claims: dict[str, str] = {}
    """OAuth2 with `jwt_bearer`: what the assertion says beside who we are (`iss`, the client id): `aud`, `sub`, `scope`, as the
    vendor wants them; `aud` is the address of the token when it is not given."""
    assertion: SecretStr | None = None
    """OAuth2 with `assertion`: the one that the vendor handed out."""
    user: str | None = None
    """Basic authentication: user name."""
    password: SecretStr | None = None
    """Basic authentication: password."""
    header: HeaderName = "Authorization"
    """API key: the header it goes into."""
    api_key: SecretStr | None = None
    """API key, as the vendor wants it in the header."""
    key_as: Literal["header", "basic_user"] = "header"
    """API key: whether it stands in the header as it is, or as the user of basic authentication without a password."""

    @property
    def way(self) -> Literal["oauth2", "basic", "api_key", "none"]:
        if self.token_url:
            return "oauth2"
        if self.user:
            return "basic"
        return "api_key" if self.api_key else "none"

    @property
    def key_text(self) -> str:
        """What stands in the header for the API key."""
        key = self.api_key.get_secret_value() if self.api_key is not None else ""
        return key if self.key_as == "header" else f"Basic {b64encode(f'{key}:'.encode()).decode('ascii')}"

    @field_validator("api_key")
    @classmethod
    def _can_be_sent(cls, key: SecretStr | None) -> SecretStr | None:
        text = key.get_secret_value() if key is not None else ""
        if not (text.isascii() and (text.isprintable() or not text)):
            raise ValueError(
                "a header cannot carry it: it has a line end, a quote from a word processor, or another special sign"
            )
        return key

    @model_validator(mode="after")
    def _is_whole_and_only_one(self) -> HttpAuth:
        """Half of it would let messages leave without any, and the partner's answer would be the first to tell."""
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        used = [way for way in WAYS if given & {*way.needs, *way.may}]
        if len(used) > 1:
            raise ValueError(f"auth names {' and '.join(way.name for way in used)}; keep one of them")
        needed = [name for way in used for name in way.needs]
        if self.token_url is not None:
            needed += _PROOFS.get(self.grant, ())
            if needless := sorted(given & {proof for proofs in _PROOFS.values() for proof in proofs} - set(needed)):
                raise ValueError(f"the grant {self.grant} takes no {', '.join(needless)}")
        missing = [name for name in needed if name not in given]
        if missing:
            raise ValidationError.from_exception_data(
                type(self).__name__, [{"type": "missing", "loc": (name,), "input": None} for name in missing], hide_input=True
            )
        if self.grant == "jwt_bearer" and self.private_key is not None:
            self.sign()
        return self

    def sign(self) -> str:
        """A new assertion of who we are (RFC 7523, section 3).  Raises ValueError when the key cannot sign one."""
        claims = {"aud": self.token_url, **self.claims}
        audience = claims.pop("aud")
        text = self.private_key.get_secret_value() if self.private_key is not None else ""
        try:
            key = (RSAKey if self.algorithm.startswith("RS") else ECKey).import_key(text)
            signed: str = JWTBearerGrant.sign(
                key, self.client_id, audience, claims=claims, alg=self.algorithm, expires_in=ASSERTION_LIVES
            )
        except Exception:  # of any kind, and its words may hold some of the key
            raise ValueError(f"`private_key` is no private key in PEM form that can sign {self.algorithm}") from None
        return signed


class _Way(NamedTuple):
    name: str
    needs: tuple[str, ...]
    may: tuple[str, ...] = ()


WAYS = (
    _Way(
        "OAuth2",
        needs=("token_url", "client_id"),
        may=("client_secret", "scope", "grant", "private_key", "algorithm", "claims", "assertion"),
    ),
    _Way("user and password", needs=("user", "password")),
    _Way("API key", needs=("api_key",), may=("header", "key_as")),
)


_PROOFS: dict[str, tuple[str, ...]] = {"jwt_bearer": ("private_key",), "assertion": ("assertion",)}
"""What a grant needs beside the client's id."""


class TokenUnusable(Exception):
    """What came from the token address is no token; the text says why without a word of it."""


class Grant:
    """How a token is asked for (client credentials, or an assertion), and how to read the answer."""

    def __init__(self, auth: HttpAuth) -> None:
        assert auth.token_url is not None  # noqa: S101 - that is what makes it OAuth2
        self.url = auth.token_url
        self._auth = auth
        secret = auth.client_secret.get_secret_value() if auth.client_secret else None
        is_said = auth.grant == "jwt_bearer" and not secret  # who we are stands in the assertion
        self._client = None if is_said else ClientAuth(auth.client_id, secret, None if secret else "none")

    def request(self) -> tuple[dict[str, str], bytes]:
        """Headers and body."""
        said = {"scope": self._auth.scope, "assertion": self._assertion()}
        body = prepare_token_request(GRANTS[self._auth.grant], **{name: text for name, text in said.items() if text})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._client is not None:
            _, headers, body = self._client.prepare("POST", self.url, headers, body)
        return headers, body.encode()

    def _assertion(self) -> str | None:
        if self._auth.grant == "jwt_bearer":
            return self._auth.sign()
        return self._auth.assertion.get_secret_value() if self._auth.assertion is not None else None

    @staticmethod
    def read(body: bytes) -> OAuth2Token:
        """Raises TokenUnusable."""
        found = _object(body)
        token, kind = found.get("access_token"), found.get("token_type") or "Bearer"
        if not isinstance(token, str) or not token:
            raise TokenUnusable("there is no access_token in it")
        if not (token.isascii() and token.isprintable()):
            raise TokenUnusable("a header cannot carry its access_token")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise TokenUnusable("its token_type is not Bearer")
        try:
            return OAuth2Token({"access_token": token, "expires_in": found.get("expires_in")})
        except (TypeError, ValueError, OverflowError):
            raise TokenUnusable("its expires_in is no number") from None

    @staticmethod
    def refusal(body: bytes) -> str:
        """Why there is no token, when the answer says so in the words of the standard."""
        try:
            error = _object(body).get("error")
        except TokenUnusable:
            return ""
        return error if error in REFUSALS else ""


def _object(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except ValueError:
        raise TokenUnusable("it is not JSON") from None
    if not isinstance(found, dict):
        raise TokenUnusable("it is no JSON object")
    return found


class Tokens:
    """One token for all messages under way: fetched when there is none, and again when it ends or is refused."""

    def __init__(self, fetch: Callable[[], Awaitable[OAuth2Token]]) -> None:
        self._fetch = fetch
        self._token: OAuth2Token | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        async with self._lock:
            if self._token is None or self._token.is_expired(leeway=LEEWAY):
                self._token = None
                self._token = await self._fetch()
            return str(self._token["access_token"])

    def refused(self, token: str) -> None:
        """Forgets it, unless somebody has fetched another one meanwhile."""
        if self._token is not None and self._token["access_token"] == token:
            self._token = None
