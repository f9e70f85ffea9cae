"""What a vendor's API wants to be asked, as data: a request with blanks, and where in its answer things stand.

A profile says, for each thing that can be asked of a partner, one `Call`:

    send:
      path: /v1/faxes
      as: multipart
      body: {faxNumber: "{to|digits}", attachments: "{document}", senderName: "{from_name}"}
      answer: {partner_id: messageId, state: status}
      failed_if: {success: ["false"]}

A value that is nothing but one blank takes what fills it, and falls away when nothing does; a file keeps its name and kind.
A value that begins with `=` is written as it stands, as JSON: `=true`, `=3`.
`Api` asks, and sorts what comes back: an answer, ConnectionDown (try again), or MessageRejected (about this message).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal
from urllib.parse import quote, urlencode, urljoin, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from hub.errors import ConnectionDown, DoubtfulSend, MessageRejected, MessageUnusable
from hub.formats.dotted import DottedFields, path_error
from hub.formats.loose_json import Unreadable, read_json
from hub.message import LARGE_BODY
from hub.net.auth import HeaderName, HeaderValue, HttpAuth
from hub.net.hosts import check_url
from hub.net.http import MOST_WITH_DOCUMENT, Content, HttpClient, Response, is_web_page
from hub.net.multipart import Part, part_heads
from hub.net.tls import TlsClient
from hub.units import Duration

_BLANK = re.compile(r"\{([a-z_][a-z0-9_.]*)((?:\|[a-z0-9]+)*)\}")
_CHUNK = 192 * 1024
"""Bytes of a file that are written at once; a multiple of 3, so that each makes whole Base64."""


@dataclass(frozen=True, slots=True)
class File:
    """Bytes that go with a request."""

    body: bytes = field(repr=False)
    media_type: str = "application/octet-stream"
    name: str = "document"


class Call(BaseModel):
    """One request to a partner, and how to read its answer."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True, frozen=True, populate_by_name=True
    )

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    """HTTP method."""
    path: str = ""
    """What follows the connection's `url`; blanks are written as one part of a path."""
    query: dict[str, str] = {}
    """What follows the question mark."""
    headers: dict[HeaderName, str] = {}
    """Headers of this request, with blanks."""
    as_: Literal["json", "form", "multipart"] = Field(default="json", alias="as")
    """How the body is written. In forms, what stands in another is named `signers[0][name]`."""
    body: Any = None
    """Fields of the body, with blanks. `{each: NAME, as: ...}` is a list with one entry for each of what NAME has."""
    answer: dict[str, str] = {}
    """Where in the answer things stand: a path in its JSON (`data.id`), `$body`, `$status`, or `$header NAME`; with `| after X`
    or `| before X` only what follows or precedes a sign."""
    items: str | None = None
    """Path of a list in the answer; then `answer` is read in each of its entries. `$list` when the answer itself is a list."""
    next_page: str | None = None
    """Path of what names the next page; there is none when it is empty."""
    page: str | None = None
    """Query parameter that `next_page` is written into; without it `next_page` is an address on the same host."""
    nothing: list[int] = []
    """HTTP statuses that mean: there is no such thing."""
    not_yet: list[int] = []
    """HTTP statuses that mean: it is not ready, look again."""
    failed_if: dict[str, list[str]] = {}
    """Values of the answer that make it a refusal of this message, although its status is good; `*` for any value."""
    later_if: dict[str, list[str]] = {}
    """Values of the answer that mean: try again later."""
    why: str | None = None
    """Path of the partner's own code for what is wrong."""

    @model_validator(mode="after")
    def _paths_can_be_read(self) -> Call:
        places = [*self.answer.values(), *self.failed_if, *self.later_if, *filter(None, (self.why, self.next_page))]
        if self.items not in (None, "$list"):
            places.append(str(self.items))
        for place in places:
            path = place.partition("|")[0].strip()
            if not path.startswith("$") and (wrong := path_error(path)):
                raise ValueError(wrong)
        return self

    @model_validator(mode="after")
    def _blanks_can_be_filled(self) -> Call:
        for text in self._texts:
            if text.startswith("="):
                try:
                    json.loads(text[1:])
                except ValueError:
                    raise ValueError(f"{text!r} is no JSON after its `=`") from None
            for found in _BLANK.finditer(text):
                for name in filter(None, found[2].split("|")):
                    if name not in _FILTERS:
                        raise ValueError(f"{text!r} names {name}; there are {', '.join(_FILTERS)}")
        return self

    @property
    def _texts(self) -> list[str]:
        return [self.path, *self.query.values(), *self.headers.values(), *_texts(self.body)]

    @property
    def reads_json(self) -> bool:
        """Whether its answer has to be JSON."""
        named = any(not place.startswith("$") for place in self.answer.values())
        return named or bool(self.items or self.failed_if or self.later_if or self.next_page)

    @property
    def blanks(self) -> frozenset[str]:
        """Names of everything this call wants to be told; those of secrets begin with `secret.`."""
        return frozenset(found[1] for text in self._texts for found in _BLANK.finditer(text))


class ApiSettings(BaseModel):
    """Settings of every connection that asks an API.  Mixed into the settings of a connector."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    url: str = Field(pattern=r"^https?://")
    """Where the API is; the paths of its calls follow."""
    headers: dict[HeaderName, HeaderValue] = {}
    """Headers of every request; no secrets here, they belong under `auth` or `secrets`."""
    auth: HttpAuth = HttpAuth()
    """OAuth2, basic authentication, or an API key."""
    secrets: dict[str, SecretStr] = {}
    """Secrets that the calls of this vendor carry in their bodies, by the name in `{secret.NAME}`."""
    tls: TlsClient | None = None
    """Authorities to trust and our own certificate, when the system's defaults do not do."""
    allow_plaintext: str | None = None
    """Why this connection may do without TLS although it leaves this machine, in a few words."""
    timeout: Duration = Field(default=60.0, gt=0)
    """How long one request may take."""

    @model_validator(mode="after")
    def _addresses_can_be_used(self) -> ApiSettings:
        for url in filter(None, (self.url, self.auth.token_url)):
            check_url(url, allow_plaintext=self.allow_plaintext)
        return self

    @model_validator(mode="after")
    def _secrets_are_there(self) -> ApiSettings:
        """A vendor profile asks for them by name; the clinic file has them."""
        calls = [value for value in self.__dict__.values() if isinstance(value, Call)]
        wanted = {name.removeprefix("secret.") for call in calls for name in call.blanks if name.startswith("secret.")}
        if missing := sorted(wanted - set(self.secrets)):
            raise ValueError(f"`secrets` lacks {', '.join(missing)}, which calls of this vendor carry")
        return self


@dataclass(frozen=True, slots=True)
class Answer:
    """What a partner answered."""

    response: Response
    found: Mapping[str, str | bytes]
    """What the call's `answer` names, where it was there."""
    items: Sequence[Mapping[str, str | bytes]]
    """The same for each entry of `items`, over all pages."""
    not_yet: bool = False

    def text(self, name: str) -> str | None:
        value = self.found.get(name)
        return value if isinstance(value, str) else None

    @property
    def body(self) -> bytes:
        return self.response.content


MOST_PAGES = 100
LOOKS = (0.5, 2.0, 5.0)
"""Seconds before each look for what may have been done."""


class Api:
    """A partner's API, asked as its vendor's profile says."""

    def __init__(self, name: str, settings: ApiSettings) -> None:
        self._name, self._settings = name, settings
        self._client = HttpClient(
            name, auth=settings.auth, timeout=settings.timeout, tls=settings.tls, most_answer=MOST_WITH_DOCUMENT
        )

    async def ask(self, call: Call, values: Mapping[str, Any]) -> Answer | None:
        """The partner's answer; None when it says that there is no such thing (`nothing`).

        Raises ConnectionDown, MessageRejected, or MessageUnusable when something the call needs is missing.
        """
        filled = _Filled(call, {**values, **self._secrets()})
        answer = await self._once(call, filled, self._url(filled, filled.query))
        pages = 1
        while answer is not None and (address := await self._next(call, filled, answer)) and pages < MOST_PAGES:
            following = await self._once(call, filled, address)
            pages += 1
            if following is None:
                break
            answer = Answer(following.response, following.found, [*answer.items, *following.items])
        return answer

    async def order(self, call: Call, values: Mapping[str, Any], *, find: Call | None = None) -> Answer | None:
        """The same for what must not be done twice: what may have been done is looked for with `find`, which lists what the
        partner has under our reference, and raises DoubtfulSend when it is not there (it may only not be there yet).
        """
        try:
            answer = await self.ask(call, values)
            if answer is None or answer.found or answer.not_yet or not call.answer:
                return answer
            raise ConnectionDown(f"{self._name}: {self._host} answered without a word of what it did", maybe_done=True)
        except ConnectionDown as error:
            if not error.maybe_done:
                raise
            found = await self._find(find, values) if find is not None else None
            if found is None:
                raise DoubtfulSend(f"{error}; it may have been done") from None
            return found

    async def _find(self, call: Call, values: Mapping[str, Any]) -> Answer | None:
        for wait in LOOKS:
            await asyncio.sleep(wait)
            with contextlib.suppress(ConnectionDown, MessageRejected):
                if (answer := await self.find(call, values)) is not None:
                    return answer
        return None

    async def find(self, call: Call, values: Mapping[str, Any]) -> Answer | None:
        """What the partner has under our reference; None when it has nothing, or not yet.

        Where the call's answer names something that we know too (`reference`), only what says the same is ours: some partners
        search loosely, and have things that others made without a reference.
        """
        answer = await self.ask(call, values)
        if answer is None or answer.not_yet:
            return None
        entries = answer.items if call.items is not None else [answer.found]
        wanted = {name: str(values[name]) for name in call.answer if values.get(name) not in (None, "")}
        ours = [entry for entry in entries if entry and all(entry.get(name) == value for name, value in wanted.items())]
        return Answer(answer.response, ours[0], []) if ours else None

    async def check(self) -> str:
        return await self._client.check(self._settings.url)

    async def close(self) -> None:
        await self._client.close()

    def _secrets(self) -> dict[str, str]:
        return {f"secret.{name}": secret.get_secret_value() for name, secret in self._settings.secrets.items()}

    @property
    def _host(self) -> str:
        return urlsplit(self._settings.url).netloc

    def _url(self, filled: _Filled, query: list[tuple[str, str]]) -> str:
        url = f"{self._settings.url.rstrip('/')}{filled.path}"
        return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}" if query else url

    async def _next(self, call: Call, filled: _Filled, answer: Answer) -> str | None:
        """Where the next page is: never on another host, whatever the partner writes."""
        if call.next_page is None or not (text := DottedFields(await _said(answer.response)).get(call.next_page)):
            return None
        if call.page is not None:
            return self._url(filled, [*(pair for pair in filled.query if pair[0] != call.page), (call.page, text)])
        own = self._url(filled, [])
        address = urljoin(own, text)
        if urlsplit(address)[:2] != urlsplit(own)[:2]:
            raise ConnectionDown(f"{self._name}: {self._host} names a next page on another host", code="NET-021")
        return address

    async def _once(self, call: Call, filled: _Filled, url: str) -> Answer | None:
        headers = {"Accept": "application/json", **self._settings.headers, **filled.headers, **filled.content_headers}
        response = await self._client.exchange(call.method, url, content=filled.content, headers=headers)
        if response.status_code in call.nothing:
            return None
        if response.status_code in call.not_yet:
            return Answer(response, {}, [], not_yet=True)
        self._client.raise_for(response)
        said = await self._read(response) if call.reads_json else None
        self._sort(call, response, said)
        return _answer(call, response, said)

    async def _read(self, response: Response) -> Any:
        """The JSON of a good answer.  What cannot be read after something was sent leaves a doubt."""
        if is_web_page(response.content):
            text = f"{self._name}: {self._host} answered {response.status_code} with a web page instead of JSON"
            raise ConnectionDown(text, code="MSG-007", maybe_done=True)
        try:
            return await _said(response)
        except Unreadable as error:
            text = f"{self._name}: {self._host} answered {response.status_code} with something that is no JSON: {error}"
            raise ConnectionDown(text, maybe_done=True) from None

    def _sort(self, call: Call, response: Response, said: Any) -> None:
        fields = DottedFields(said)
        code = fields.get(call.why) or "" if call.why else ""
        if _says(fields, call.later_if):
            raise ConnectionDown(f"{self._name}: {self._host} says: later")
        if _says(fields, call.failed_if):
            raise MessageRejected(f"{self._host} refused it", answer=code or "refused", final=True, reply=response.content)


async def _said(response: Response) -> Any:
    """The JSON of an answer; others have their turn while a long one is read.  Raises Unreadable."""
    content = response.content
    if len(content) > LARGE_BODY:
        return await asyncio.to_thread(read_json, content)
    return read_json(content) if content.strip() else {}


def _says(fields: DottedFields, wanted: Mapping[str, list[str]]) -> bool:
    for path, values in wanted.items():
        found = fields.get_all(path)
        if found and ("*" in values or any(text in values for text in found)):
            return True
    return False


def _answer(call: Call, response: Response, said: Any) -> Answer:
    if call.items is None:
        return Answer(response, _found(call, response, said), [])
    entries = _list_at(said, call.items)
    found = [_found(call, response, entry) for entry in entries if isinstance(entry, dict)]
    return Answer(response, {}, [entry for entry in found if entry])


def _list_at(said: Any, path: str) -> list[Any]:
    """The list at a path; one entry that stands there alone is a list of one, as some vendors write it."""
    for part in path.split(".") if path != "$list" else ():
        said = said.get(part) if isinstance(said, dict) else None
    return said if isinstance(said, list) else [said] if isinstance(said, dict) else []


def _found(call: Call, response: Response, said: Any) -> dict[str, str | bytes]:
    found: dict[str, str | bytes] = {}
    fields = DottedFields(said)
    for name, place in call.answer.items():
        value = _at(place, response, fields)
        if value is not None:
            found[name] = value
    return found


def _at(place: str, response: Response, fields: DottedFields) -> str | bytes | None:
    path, _, cut = (part.strip() for part in place.partition("|"))
    if path == "$body":
        return bytes(response.content)
    if path == "$status":
        return str(response.status_code)
    text = response.headers.get(path.removeprefix("$header ")) if path.startswith("$header ") else fields.get(path)
    way, _, sign = cut.partition(" ")
    if text is None or not way:
        return text
    return text.rpartition(sign)[2] if way == "after" else text.partition(sign)[0]


# Filling in.


class _Filled:
    """One call with its blanks filled in."""

    def __init__(self, call: Call, values: Mapping[str, Any]) -> None:
        self.path = _BLANK.sub(lambda found: quote(str(_wanted(found, values)), safe=""), call.path)
        self.query = [(name, str(text)) for name, text in _fill(call.query, values).items()]
        self.headers = {name: str(text) for name, text in _fill(call.headers, values).items()}
        self.content: Content | None = None
        self.content_headers: dict[str, str] = {}
        if call.body is not None:
            self._write(call.as_, _fill(call.body, values))

    def _write(self, way: str, body: Any) -> None:
        content: bytes | Pieces
        match way:
            case "json":
                content, kind = _json(body), "application/json"
            case "form":
                pairs = [(name, _form_text(value)) for name, value in _flat(body)]
                content, kind = urlencode(pairs).encode(), "application/x-www-form-urlencoded"
            case _:
                parts = [_part(name, value) for name, value in _flat(body)]
                heads, end, boundary = part_heads(parts)
                pieces = [piece for head, part in zip(heads, parts, strict=True) for piece in (head, part.body, b"\r\n")]
                content, kind = Pieces([*pieces, end]), f"multipart/form-data; boundary={boundary}"
        self.content = content
        self.content_headers = {"Content-Type": kind, "Content-Length": str(len(content))}


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A file that is written as Base64 while it is sent."""

    file: bytes

    def __len__(self) -> int:
        return -(-len(self.file) // 3) * 4

    def chunks(self) -> Iterator[bytes]:
        view = memoryview(self.file)
        for at in range(0, len(view), _CHUNK):
            yield base64.b64encode(view[at : at + _CHUNK])


class Pieces:
    """A body in pieces, which are not joined in memory; may be sent several times."""

    def __init__(self, pieces: list[bytes | _Encoded]) -> None:
        self._pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, _Encoded):
                for chunk in piece.chunks():
                    yield chunk
                continue
            view = memoryview(piece)
            for at in range(0, len(view), _CHUNK):
                yield bytes(view[at : at + _CHUNK])


def _wanted(found: re.Match[str], values: Mapping[str, Any]) -> Any:
    value = _value(found, values)
    if value is None or value == "":
        raise MessageUnusable(f"`{found[1]}` is missing, which the partner has to be told", code="MSG-002")
    return value


def _value(found: re.Match[str], values: Mapping[str, Any]) -> Any:
    value = values.get(found[1])
    for name in filter(None, found[2].split("|")):
        value = _FILTERS[name](value) if value is not None else None
    return value


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    """A template with its blanks filled in; None when it is a blank that nothing fills."""
    if isinstance(template, dict):
        if set(template) == {"each", "as"}:
            return [_fill(template["as"], {**values, **entry}) for entry in values.get(template["each"]) or []] or None
        filled = {name: _fill(inner, values) for name, inner in template.items()}
        return {name: value for name, value in filled.items() if value is not None}
    if isinstance(template, list):
        return [value for inner in template if (value := _fill(inner, values)) is not None]
    if not isinstance(template, str):
        return template
    if template.startswith("="):
        return json.loads(template[1:])
    if (whole := _BLANK.fullmatch(template)) is not None:
        value = _value(whole, values)
        return None if value == "" else value
    return _BLANK.sub(lambda found: str(_wanted(found, values)), template)


_FILTERS: dict[str, Any] = {
    "digits": lambda value: "".join(c for c in str(value) if c in "0123456789"),
    "base64": lambda value: _Encoded(value.body if isinstance(value, File) else str(value).encode()),
    "number": lambda value: int(value) if str(value).lstrip("-").isdecimal() else float(value),
    "yes": lambda value: str(value).lower() in ("true", "yes", "1"),
    "lower": lambda value: str(value).lower(),
    "upper": lambda value: str(value).upper(),
    "xml": lambda value: escape(str(value), quote=True),
    "json": lambda value: json.dumps(value, ensure_ascii=False),
}


def _json(body: Any) -> bytes | Pieces:
    """JSON whose files are not joined into it in memory."""
    files: list[_Encoded] = []

    def mark(value: Any) -> str:
        if not isinstance(value, _Encoded):
            raise TypeError(f"{type(value).__name__} cannot be written as JSON")
        files.append(value)
        return f"\x00{len(files) - 1}\x00"

    text = json.dumps(body, ensure_ascii=True, default=mark)
    if not files:
        return text.encode("ascii")
    pieces: list[bytes | _Encoded] = []
    for number, piece in enumerate(re.split(r"\\u0000(\d+)\\u0000", text)):
        pieces.append(files[int(piece)] if number % 2 else piece.encode("ascii"))
    return Pieces(pieces)


def _flat(body: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """`{"signers": [{"name": "A"}]}` as `signers[0][name]`, `A`."""
    if isinstance(body, dict):
        for key, value in body.items():
            yield from _flat(value, f"{name}[{key}]" if name else key)
    elif isinstance(body, list):
        for number, value in enumerate(body):
            yield from _flat(value, f"{name}[{number}]")
    elif body is not None:
        yield name, body


def _form_text(value: Any) -> str:
    if isinstance(value, _Encoded):
        return b"".join(value.chunks()).decode("ascii")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _part(name: str, value: Any) -> Part:
    if isinstance(value, File):
        disposition = f'form-data; name="{name}"; filename="{value.name}"'
        return Part(value.body, {"content-disposition": disposition, "content-type": value.media_type})
    return Part(_form_text(value).encode(), {"content-disposition": f'form-data; name="{name}"'})


def _texts(template: Any) -> Iterator[str]:
    if isinstance(template, dict):
        for value in template.values():
            yield from _texts(value)
    elif isinstance(template, list):
        for value in template:
            yield from _texts(value)
    elif isinstance(template, str):
        yield template
