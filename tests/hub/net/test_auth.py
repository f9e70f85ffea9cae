"""Tokens for an assertion: signed by us as the vendor wants it, or handed out by the vendor."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jwk, jwt
from pydantic import ValidationError

from hub.net.auth import Grant, HttpAuth

URL = "https://account.vendor.example/oauth/token"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def pem(key: Any) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(encoding, form, serialization.NoEncryption()).decode())


def public_pem(key: Any) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(encoding, form).decode())


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def auth(**more: Any) -> HttpAuth:
    return HttpAuth.model_validate({"token_url": URL, "client_id": "clinic-17", **more})


def asked(settings: HttpAuth) -> tuple[dict[str, str], dict[str, str]]:
    headers, body = Grant(settings).request()
    return headers, {name: values[0] for name, values in parse_qs(body.decode()).items()}


def test_an_assertion_is_signed_with_the_claims_of_the_settings() -> None:
    claims = {"aud": "account.vendor.example", "sub": "user-1", "scope": "signature impersonation"}
    headers, form = asked(auth(grant="jwt_bearer", private_key=pem(RSA), claims=claims))
    said = jwt.decode(form.pop("assertion"), jwk.RSAKey.import_key(RSA.public_key()), algorithms=["RS256"])
    assert form == {"grant_type": BEARER}, "who we are stands in the assertion"
    assert "authorization" not in {name.lower() for name in headers}
    assert said.header["alg"] == "RS256"
    found = said.claims
    assert {name: found[name] for name in ("iss", "aud", "sub", "scope")} == {"iss": "clinic-17", **claims}
    assert abs(found["iat"] - time.time()) < 60
    assert 60 <= found["exp"] - found["iat"] <= 3600
    assert found["jti"]


def test_without_an_audience_it_is_the_address_of_the_token_and_each_assertion_is_new() -> None:
    settings = auth(grant="jwt_bearer", private_key=pem(CURVE), algorithm="ES256")
    key = jwk.ECKey.import_key(CURVE.public_key())
    found = [jwt.decode(asked(settings)[1]["assertion"], key, algorithms=["ES256"]).claims for _ in range(2)]
    assert found[0]["aud"] == URL
    assert found[0]["jti"] != found[1]["jti"]


def test_an_assertion_of_the_vendor_goes_with_our_credentials() -> None:
    headers, form = asked(auth(grant="assertion", assertion="handed.out.once", client_secret="s3cret"))
    assert form == {"grant_type": BEARER, "assertion": "handed.out.once"}
    assert headers["Authorization"].startswith("Basic ")


def test_client_credentials_are_as_before() -> None:
    headers, form = asked(auth(client_secret="s3cret", scope="a b"))
    assert form == {"grant_type": "client_credentials", "scope": "a b"}
    assert headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"grant": "jwt_bearer"}, "private_key"),
        ({"grant": "assertion"}, "assertion"),
        ({"private_key": pem(RSA)}, "takes no private_key"),
        ({"grant": "jwt_bearer", "private_key": pem(RSA), "assertion": "x"}, "takes no assertion"),
        ({"grant": "jwt_bearer", "private_key": "no key"}, "no private key"),
        ({"grant": "jwt_bearer", "private_key": pem(CURVE)}, "RS256"),
        ({"grant": "jwt_bearer", "private_key": pem(RSA)[:400]}, "no private key"),
        ({"grant": "password"}, "client_credentials"),
    ],
)
def test_half_a_grant_is_refused_and_no_word_of_the_key_is_told(more: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        auth(**more)
    assert "PRIVATE" not in str(caught.value)
    assert pem(RSA).splitlines()[3] not in str(caught.value)


def test_a_grant_alone_is_no_authentication() -> None:
    with pytest.raises(ValidationError, match="token_url"):
        HttpAuth.model_validate({"grant": "jwt_bearer", "private_key": pem(RSA)})


def test_a_key_may_be_the_user_of_basic_authentication() -> None:
    assert HttpAuth.model_validate({"api_key": "k-1", "key_as": "basic_user"}).key_text == "Basic ay0xOg=="
    assert HttpAuth.model_validate({"api_key": "Basic k-1"}).key_text == "Basic k-1"
