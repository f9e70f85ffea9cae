"""Reading and writing mail: what people and systems send comes out right, and any bytes are a mail."""

from __future__ import annotations

import base64
import email
import email.policy
import time
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from connectors.mail.mailbox import messages_of
from hub.formats.mail.codec import MailFormat, content_of
from hub.formats.mail.fields import is_address, read_fields
from hub.formats.mail.reading import MOST_LEVELS, MOST_PARTS, PIECE, read_mail
from hub.formats.mail.receipts import Told, receipt_of
from hub.formats.mail.writing import Attached, Draft, write_mail
from hub.message import Message
from tests.hub.formats.mails import PDF, dsn, letter, mdn


def fields_of(body: bytes) -> Any:
    return MailFormat().open(Message(body, "mail"))


# What people send.


def test_a_mapping_reads_who_wrote_what_to_whom() -> None:
    raw = (
        b'From: =?ISO-8859-1?Q?M=FCller=2C_Anna?= <anna@lab.example>\r\nTo: "Hub, The" <hub@clinic.example>,\r\n'
        b"\tdesk@clinic.example\r\nCc: c@clinic.example\r\nSubject: =?utf-8?B?QmVmdW5k?= =?utf-8?B?IPCfmYI=?=\r\n ready\r\n"
        b"Date: Tue, 24 Nov 2026 23:10:00 -0600\r\nMessage-ID: <1@lab.example>\r\n\r\nHello\r\n"
    )
    read = fields_of(raw)
    assert [read.get(path) for path in ("from.name", "from.address", "subject", "date", "message_id", "text")] == [
        "Müller, Anna", "anna@lab.example", "Befund 🙂 ready", "2026-11-24T23:10:00-06:00", "1@lab.example", "Hello\r\n",
    ]  # fmt: skip
    assert read.get_all("to[*].address") == ["hub@clinic.example", "desk@clinic.example"]
    assert read.get("to[1].name") == "Hub, The"
    keys = MailFormat().keys(raw, {})
    assert (keys.type, keys.control_id, list(keys.findings)) == ("mail", "1@lab.example", [])


@pytest.mark.parametrize(
    ("headers", "kind", "about"),
    [
        ({}, "mail", None),
        ({"In-Reply-To": "<x@clinic.example>"}, "reply", "x@clinic.example"),
        ({"Auto-Submitted": "auto-replied", "In-Reply-To": "<x@clinic.example>"}, "automatic", "x@clinic.example"),
        ({"Auto-Submitted": "no"}, "mail", None),
    ],
)
def test_what_kind_of_mail_it_is(headers: dict[str, str], kind: str, about: str | None) -> None:
    raw = letter(headers=list(headers.items()))
    [message] = messages_of(raw)
    assert (MailFormat().keys(raw, {}).type, message.headers.get("resource")) == (kind, about)


SPELLINGS = r"""Content-Type: multipart/mixed; boundary=outer

for old programs
--outer
Content-Type: multipart/alternative; boundary="in ner"

--in ner
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe
--in ner
Content-Type: text/html

<b>x</b>
--in ner--
--outer
Content-Type: image/png
Content-ID: <logo>
Content-Transfer-Encoding: base64

iVBO
--outer
Content-Type: application/octet-stream; name*=utf-8''Gro%C3%9Fe%20Akte.pdf
Content-Transfer-Encoding: BASE64

JVBERi0xLjQ=
--outer
Content-Type: text/plain
Content-Disposition: attachment; filename="C:\\temp\\list.txt"

a,b
--outer
Content-Type: message/rfc822

Subject: forwarded
Content-Type: multipart/mixed; boundary=third

--third
Content-Type: application/pdf

%PDF-1.7
--third--
--outer
Content-Type: application/pkcs7-signature; name=smime.p7s

x
--outer--
"""


def test_attachments_in_all_their_spellings() -> None:
    lines = SPELLINGS.split("\n")
    mail = read_mail("\r\n".join(lines).encode())
    assert mail.text == "Grüße"
    assert mail.findings == []
    assert [(part.number, part.media_type, part.name, part.content) for part in mail.attachments] == [
        ("3", "application/pdf", "Große Akte.pdf", b"%PDF-1.4"),
        ("4", "text/plain", "list.txt", b"a,b"),
        ("5.1", "application/pdf", "", b"%PDF-1.7"),
    ]
    unix = read_mail("\n".join(lines).encode())
    assert [part.content for part in unix.attachments] == [part.content for part in mail.attachments]


def test_the_first_bytes_say_what_a_file_is_not_its_sender() -> None:
    lying = [
        Attached(b"MZ\0\0not", "application/pdf", "a.pdf"),
        Attached(PDF, "text/plain", "b.txt"),
        Attached(b"x;y", "text/csv", "c"),
    ]
    kinds = [part.media_type for part in read_mail(letter(1, *lying)).attachments]
    assert kinds == ["application/octet-stream", "application/pdf", "text/csv"]


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b""])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 57 * 40_000, 57 * 40_000 + 1])
def test_base64_in_lines_or_in_one_and_longer_than_a_piece(size: int, line_end: bytes) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    encoded = base64.encodebytes(content[:size]).replace(b"\n", line_end)
    [part] = read_mail(b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded).parts
    assert part.content == content[:size]
    assert not part.damaged


@pytest.mark.parametrize("size", [4 * PIECE - 100 + near for near in range(0, 200, 7)])
def test_a_boundary_is_found_wherever_it_stands(size: int) -> None:
    raw = b"Content-Type: multipart/mixed; boundary=abcdefghij\r\n\r\n--abcdefghij\r\n\r\n" + b"x" * size
    parts = read_mail(raw + b"\r\n--abcdefghij\r\n\r\nsecond\r\n--abcdefghij--\r\n").parts
    assert [len(part.content) for part in parts] == [size, 6]


def test_base64_that_was_put_together_is_read_to_its_end() -> None:
    [part] = read_mail(b"Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\nYmI=\r\nY2Nj").parts
    assert part.content == b"abbccc"


def test_damaged_content_is_taken_as_far_as_it_goes_and_said() -> None:
    raw = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLj\r\n"
    [_, document] = messages_of(raw)
    assert document.body == b"%PDF-1."
    assert document.headers["damaged"] == "yes"


def test_base64_that_is_mostly_none_holds_nobody_up() -> None:
    raw = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    [part] = read_mail(raw + b"JVBE!@#\n" * 2_000_000 + b"A").parts
    began = time.process_time()
    assert part.content == b"%PD" * 2_000_000
    assert part.damaged
    assert time.process_time() - began < 0.5, "a pass over the bytes, and no call for each"


# Receipts.


@pytest.mark.parametrize(
    ("event", "wanted", "kind"),
    [
        ("processed", "processed", "receipt"),
        ("dispatched", "dispatched", "receipt"),
        ("Displayed", "displayed", "receipt"),
        ("failed", "failed", "bounce"),
        ("denied", "denied", "bounce"),
        ("processed/error", "failed", "bounce"),
        ("processed/warning, failure", "failed", "bounce"),
    ],
)
def test_what_an_mdn_says(event: str, wanted: str, kind: str) -> None:
    raw = mdn("m-1@clinic.example", event, also="first@hospital.example")
    receipt = receipt_of(read_mail(raw))
    assert receipt is not None
    assert (receipt.kind, receipt.original, receipt.event) == ("mdn", "m-1@clinic.example", wanted)
    assert receipt.told == (Told("partner@hospital.example", wanted, also="first@hospital.example"),)
    [message] = messages_of(raw)
    assert (message.type, dict(message.headers)) == (kind, {"event": wanted, "resource": "m-1@clinic.example"})
    assert fields_of(raw).get("receipt.told[1].event") == wanted


@pytest.mark.parametrize("headers_only", [True, False])
def test_what_a_dsn_says_of_each_address(headers_only: bool) -> None:
    told = {"a@b.example": ("failed", "5.1.1"), "c@d.example": ("delivered", "2.0.0")}
    raw = dsn("m-1@clinic.example", told, headers_only=headers_only)
    receipt = receipt_of(read_mail(raw))
    assert receipt is not None
    assert (receipt.kind, receipt.original, receipt.event) == ("dsn", "m-1@clinic.example", "failed")
    assert receipt.told == (Told("a@b.example", "failed", "5.1.1"), Told("c@d.example", "delivered", "2.0.0"))
    assert [message.type for message in messages_of(raw)] == ["bounce"], "what is given back is no document"


def test_a_notification_without_an_id_is_about_the_mail_it_answers() -> None:
    receipt = receipt_of(read_mail(mdn("m-1@clinic.example", "processed", names=False)))
    assert receipt is not None
    assert receipt.original == "m-1@clinic.example"


@pytest.mark.parametrize("raw", [mdn("m", "nonsense"), dsn("m", {}), dsn("m", {"a@b.example": ("nonsense", "")})])
def test_a_notification_that_says_nothing_is_a_mail_of_a_machine(raw: bytes) -> None:
    assert receipt_of(read_mail(raw)) is None
    assert MailFormat().keys(raw, {}).type == "automatic"


# Too much, and broken.

NEST = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(5000))
HOSTILE = {
    "levels": (NEST, "levels"),
    "mails in mails": (b"Content-Type: message/rfc822\r\n\r\n" * 20_000, "levels"),
    "parts": (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 200_000, "parts"),
    "one boundary for all": (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" * 20_000, "parts"),
    "fields": (b"X: y\r\n" * 500_000, "fields"),
    "a field": (b"Subject: " + b"=?utf-8?q?a?= " * 500_000, "too long"),
    "continued": (b"Subject: a\r\n" + b" b\r\n" * 500_000, "too long"),
    "comments": (b"From: " + b"(" * 200_000 + b"\r\n\r\n", "too long"),
    "quotes": (b'Content-Type: multipart/mixed; boundary="' + b';"' * 80_000 + b"\r\n\r\n", "too long"),
    "addresses": (b"To: " + b"a@b.example," * 100_000 + b"\r\n\r\n", "too long"),
    "no boundary": (b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx", "where its own parts begin"),
    "none of the parts": (b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--b\r\n\r\nx", "none of the parts"),
    "cut off": (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx", "cut off"),
    "no fields": (b"\0\xff\xfe binary\r\n\r\n", "no fields"),
    "sealed": (b"Content-Type: application/pkcs7-mime\r\n\r\nx", "sealed"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mails_are_read_within_bounds_and_what_is_wrong_is_said(name: str) -> None:
    raw, words = HOSTILE[name]
    began = time.process_time()
    mail = read_mail(raw)
    keys = MailFormat().keys(raw, {})
    content_of(mail)
    messages = messages_of(raw)
    assert time.process_time() - began < 2.0
    assert any(words in finding for finding in keys.findings), keys.findings
    assert len(mail.parts) <= MOST_PARTS
    assert all(part.number.count(".") <= MOST_LEVELS for part in mail.parts)
    assert messages[0].body == raw


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_a_mail(raw: bytes) -> None:
    _hold(raw)


PIECES = [
    b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: multipart/report; boundary=c\n", b"--b\r\n", b"--c\n",
    b"--b--\r\n", b"\r\n", b"\n", b"Content-Type: message/rfc822\r\n", b"Content-Type: message/delivery-status\r\n",
    b"Action: failed\r\n", b"Content-Type: message/disposition-notification\r\n", b"Disposition: a/b; processed\r\n",
    b"Original-Message-ID: <a@b>\r\n", b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n", b"JVBERi0=\r\n", b"=3D=\r\n",
    b"Content-Disposition: attachment; filename*0*=utf-8''a%20; filename*1=b\r\n", b"Subject: =?utf-8?b?w?= =?x?q?=FF?=\r\n",
    b"From: <<>>(\r\n", b"Date: 99 Foo 0000\r\n", b"Content-Type: text/plain; charset=punycode\r\n", b"\xff\xfe\x00",
    b" folded\r\n", b"Message-ID: <a@b>\r\n", b"References: <a@b> <c\r\n",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join))
def test_any_pieces_of_mails_are_a_mail(raw: bytes) -> None:
    _hold(raw)


def _hold(raw: bytes) -> None:
    """What holds for any bytes."""
    whole, *documents = messages_of(raw)
    assert whole.body == raw
    assert all(document.body and document.parent == whole.id for document in documents)
    assert all(value.isprintable() and value.isascii() for message in [whole, *documents] for value in message.headers.values())
    keys = MailFormat().keys(raw, whole.headers)
    assert keys.type == whole.type
    assert keys.duplicate_key == whole.duplicate_key
    content_of(read_mail(raw))
    for path in ("subject", "from.address", "to[*].address", "date", "text", "receipt.event", "attachments[*].name"):
        for value in fields_of(raw).get_all(path):
            value.encode()


def test_fields_are_what_the_standard_library_reads() -> None:
    """An oracle for mails that are in order."""
    raw = letter(1, Attached(PDF, "application/pdf", "a.pdf"), text="Grüße " * 50)
    theirs = email.message_from_bytes(raw, policy=email.policy.default)
    ours = read_mail(raw)
    assert isinstance(theirs, EmailMessage)
    for name in ("from", "to", "subject", "message-id"):
        assert ours.fields.text(name) == str(theirs[name])
    body = theirs.get_body()
    assert isinstance(body, EmailMessage)
    assert ours.text == body.get_content()
    assert [part.content for part in ours.attachments] == [part.get_payload(decode=True) for part in theirs.iter_attachments()]


# Writing.

WORDS = st.text(max_size=300)


@settings(max_examples=150, deadline=None)
@given(subject=WORDS, text=WORDS, name=WORDS, files=st.lists(st.binary(max_size=300), max_size=3))
def test_what_is_written_is_read_again_and_begins_no_further_field(
    subject: str, text: str, name: str, files: list[bytes]
) -> None:
    subject, text, name = (one.encode("utf-8", "replace").decode() for one in (subject, text, name))
    draft = Draft(
        message_id="m@clinic.example", sender="hub@clinic.example", sender_name=name, to=["a@b.example"], subject=subject,
        text=text, sent_at=datetime(2026, 11, 25, tzinfo=UTC),
        attached=[Attached(file, "application/octet-stream", "a.bin") for file in files],
    )  # fmt: skip
    raw = write_mail(draft)
    assert raw.isascii()
    assert raw.replace(b"\r\n", b"").count(b"\n") == raw.replace(b"\r\n", b"").count(b"\r") == 0
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    mail = read_mail(raw)
    assert {known for known, _ in mail.fields.all} <= {
        "from", "to", "subject", "date", "message-id", "mime-version", "content-type", "content-transfer-encoding",
    }  # fmt: skip
    assert [part.content for part in mail.attachments] == files
    assert mail.findings == []


@pytest.mark.parametrize("text", ["a@b.example", "a.b+c@d-e.example", "13125550100@fax.example", "o'neil@b.example"])
def test_addresses(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@",
        "@b",
        "a b@c.example",
        "a@b@c",
        "a@b.example\r\nX",
        "<a@b.example>",
        "jörg@b.example",
        "a@.b",
        "a..b@c.d",
        "a,b@c",
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert not is_address(text)


def test_a_field_that_is_none_is_said_and_the_others_are_read() -> None:
    fields = read_fields(b"From someone\r\nA: 1\r\n nonsense without colon\r\n???\r\nB: 2\r\n")
    assert fields.all == [("a", "1 nonsense without colon"), ("b", "2")]
    assert fields.findings == ["its header has lines that are no fields"]


@pytest.mark.parametrize("path", ["subject", "to[*].address", "receipt.told[1].event", "findings[1].name"])
def test_paths_of_mappings(path: str) -> None:
    assert MailFormat().path_error(path) is None
    assert MailFormat().path_error(f"{path} x") is not None
    assert "a mail has" in str(MailFormat().path_error("colour"))
