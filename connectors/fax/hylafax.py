"""The kind `hylafax`: a fax server of the clinic's own, HylaFAX, by the protocol of its daemon hfaxd (port 4559, like FTP).

A document is stored, a job is made of it and submitted; its tag is our reference, by which it is found again.  A job that was
not submitted is forgotten by the server with the connection, so the only moment of doubt is that of JSUBM.  What comes in is
brought by a connection of kind `folder` that looks into the server's recvq.

The only home of ftplib.  It blocks, so each conversation has a thread.
"""

from __future__ import annotations

import asyncio
import ftplib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from connectors.fax.words import E164, our_error, told
from hub.connector import Destination, DestinationConfig
from hub.errors import ConnectionDown, DoubtfulSend, MessageRejected, MessageUnusable
from hub.message import Message
from hub.net.hosts import HostName, is_loopback
from hub.records_fax import FaxError, FaxReport
from hub.units import Duration

LOOKS = (0.5, 2.0)
"""Seconds before each look for a job that may have been submitted."""
STATES: dict[str, Literal["queued", "sending", "sent", "failed"]] = {
    "T": "queued", "P": "queued", "S": "queued", "B": "queued", "W": "queued", "R": "sending", "D": "sent", "F": "failed",
}  # fmt: skip
"""Letters of hfaxd for how a job is (hfaxd(8), sendq(5))."""
ERRORS: dict[str, FaxError] = {
    "Busy*": "busy",
    "No answer*": "no_answer",
    "No carrier*": "no_answer",
    "No dialtone*": "other",
    "*Invalid dialing*": "bad_number",
    "*rejected*": "refused",
}
_STORED = re.compile(r"FILE: (\S+?)[\s).]*(?:\(|$)")
_JOB = re.compile(r"jobid: (\d+)")
_FORMAT = 'JOBFMT "%j|%a|%J|%P|%s"'


class HylafaxConfig(DestinationConfig):
    """A HylaFAX server."""

    host: HostName
    """Where hfaxd runs."""
    port: int = Field(default=4559, ge=1, le=65535)
    """TCP port."""
    user: str = Field(min_length=1, pattern=r"^[\x21-\x7e]+$")
    """User, as in the server's hosts.hfaxd."""
    password: SecretStr | None = None
    """Password, where the server wants one."""
    allow_plaintext: str | None = None
    """Why the server may be on another machine although the protocol has no TLS, in a few words: a cable, a VPN."""
    timeout: Duration = Field(default=30.0, gt=0)
    """How long the server may take for each answer."""
    prefix: str = Field(default="", pattern=r"^[0-9,*#]*$")
    """What is dialled before each number: `9,`."""
    document: Literal["pdf", "tiff"] = "pdf"
    """What the server takes: PDF, for which it needs a converter, or TIFF."""
    resolution: Literal["fine", "standard"] = "fine"
    """Lines on a page: 196 or 98 to the inch."""
    paper: Literal["letter", "a4"] = "letter"
    """Size of the paper."""
    dials: int = Field(default=1, ge=1, le=100)
    """How often the server itself dials before it says that a fax failed; the hub tries again as the fax's policy says."""
    kill_after: Duration = Field(default=3600.0, ge=60, le=30 * 86400)
    """After this time the server gives a job up."""
    errors: dict[str, FaxError] = ERRORS
    """The server's words for why one failed, and ours; `*` stands for anything. What is not named is other."""

    @model_validator(mode="after")
    def _is_on_this_machine_or_has_a_reason(self) -> HylafaxConfig:
        if not is_loopback(self.host) and not self.allow_plaintext:
            raise ValueError("the protocol has no TLS: a server beyond this machine needs `allow_plaintext` with the reason")
        return self


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the server lists it."""

    id: str
    state: str
    tag: str
    pages: str
    """Sent and all, as `2:5`."""
    status: str


class Hylafax(Destination[HylafaxConfig]):
    """A HylaFAX server."""

    kind = "hylafax"
    repeat = "ask"

    def may_repeat(self, message: Message) -> bool:
        return message.format != "document"  # all else are questions

    async def send(self, message: Message) -> Message | None:
        match message.format:
            case "document":
                return told(await self._order(message), message, self.name)
            case "look" | "fax":
                return told(await self._look(message), message, self.name)
            case _:
                text = f"{self.name} takes a document to send or a look, and no {message.format}"
                raise MessageUnusable(text, code="FAX-001")

    async def _order(self, message: Message) -> FaxReport:
        to, reference = message.headers.get("to", ""), message.headers.get("reference", "")
        if not E164.fullmatch(to):
            raise MessageUnusable("the number to fax to is not written as +13125550100 (E.164)", code="FAX-002")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", reference):
            raise MessageUnusable("the order of a fax has no reference, by which it is found again", code="FAX-001")
        before = message.headers.get("before", "")
        if before and (arrived := await self._found(before)) is not None and arrived.state == "D":
            return self._report(arrived)
        if message.generation and (known := await self._found(reference)) is not None:
            return self._report(known)
        document = await self._as_server_wants(message)
        try:
            job = await asyncio.to_thread(self._submit, document, to, reference)
        except DoubtfulSend:
            found = await self._found_after_all(reference)
            if found is None:
                raise
            return self._report(found)
        return FaxReport(reference=reference, partner_id=job, state="queued")

    async def _as_server_wants(self, message: Message) -> bytes:
        from hub.formats import pages

        document = message.body
        if cover := message.headers.get("cover", ""):
            document = await pages.join(await pages.cover("Fax", cover.splitlines()), document)
        if self.config.document == "tiff":
            return await pages.to_tiff(document, resolution=self.config.resolution)
        return await pages.to_pdf(document)

    async def _look(self, message: Message) -> FaxReport:
        reference = message.headers.get("reference", "")
        found = await self._found(reference)
        return self._report(found) if found is not None else FaxReport(reference=reference, state="unknown")

    async def _found(self, reference: str) -> Job | None:
        jobs = await asyncio.to_thread(self._jobs)
        return next((job for job in jobs if job.tag == reference), None)

    async def _found_after_all(self, reference: str) -> Job | None:
        for wait in LOOKS:
            await asyncio.sleep(wait)
            try:
                if (found := await self._found(reference)) is not None:
                    return found
            except (ConnectionDown, MessageRejected):
                continue
        return None

    def _report(self, job: Job) -> FaxReport:
        state = STATES.get(job.state, "queued")
        sent = job.pages.partition(":")[0].strip()
        pages = int(sent) if sent.isdecimal() and sent.isascii() and len(sent) < 6 else None
        error = None
        if state == "failed":
            error = our_error(job.status, self.config.errors)
            error = "partial" if pages and error == "other" else error
        reason = job.status[:80] if state == "failed" and job.status else None
        return FaxReport(reference=job.tag, partner_id=job.id, state=state, error=error, reason=reason, pages=pages)

    # The conversation; in a thread.

    def _submit(self, document: bytes, to: str, reference: str) -> str:
        """The id of the job.  Raises DoubtfulSend when it may have been submitted."""
        config = self.config
        width, length = ("216", "279") if config.paper == "letter" else ("209", "296")
        minutes = int(config.kill_after // 60)
        with self._talking() as server:
            stored = server.store(document)
            job = _part(_JOB, server.sendcmd("JNEW"), self.name)
            for name, value in (
                ("FROMUSER", '"clinic-hub"'),
                ("LASTTIME", f"{minutes // 1440:02d}{minutes // 60 % 24:02d}{minutes % 60:02d}"),
                ("MAXDIALS", str(config.dials)),
                ("MAXTRIES", str(config.dials)),
                ("SCHEDPRI", "127"),
                ("DIALSTRING", f'"{config.prefix}{to.removeprefix("+")}"'),
                ("NOTIFY", '"none"'),
                ("VRES", "196" if config.resolution == "fine" else "98"),
                ("PAGEWIDTH", width),
                ("PAGELENGTH", length),
                ("PAGECHOP", '"default"'),
                ("JOBINFO", f'"{reference}"'),
                ("DOCUMENT", stored),
            ):
                server.sendcmd(f"JPARM {name} {value}")
            try:
                server.sendcmd("JSUBM")
            except (OSError, EOFError, ftplib.error_reply, ftplib.error_proto):
                raise DoubtfulSend(f"{self.name}: the server did not answer to a job; it may have taken it") from None
            return job

    def _jobs(self) -> list[Job]:
        lines: list[str] = []
        with self._talking() as server:
            server.sendcmd(_FORMAT)
            for queue in ("sendq", "doneq"):
                server.retrlines(f"LIST {queue}", lines.append)
        parts = [line.split("|", 4) for line in lines]
        return [Job(*(part.strip() for part in found)) for found in parts if len(found) == 5]

    @contextmanager
    def _talking(self) -> Iterator[_Server]:
        """A server that knows us.  Raises ConnectionDown, and MessageRejected for what the server refuses of this job."""
        config = self.config
        server, knows_us = _Server(), False
        try:
            server.connect(config.host, config.port, config.timeout)
            server.login(config.user, config.password.get_secret_value() if config.password is not None else "")
            knows_us = True
            yield server
        except ftplib.error_perm as error:
            code = str(error)[:3]
            if not knows_us or code in ("530", "550"):
                text = f"{self.name}: the server does not let us in ({code}); check user, password, and its hosts.hfaxd"
                raise ConnectionDown(text, code="NET-020") from None
            raise MessageRejected(f"{self.name}: the server refused the job", answer=code, final=True) from None
        except ftplib.error_temp as error:
            raise ConnectionDown(f"{self.name}: the server says: later ({str(error)[:3]})") from None
        except (OSError, EOFError, ftplib.error_reply, ftplib.error_proto) as error:
            raise ConnectionDown(f"{self.name}: the server does not answer: {type(error).__name__}") from None
        finally:
            server.close()

    async def check(self) -> str:
        began = time.monotonic()
        jobs = await asyncio.to_thread(self._jobs)
        return f"{self.config.host} answers in {time.monotonic() - began:.1f} s; {len(jobs)} job(s) of ours"


class _Server(ftplib.FTP):
    """FTP with the requests of hfaxd."""

    def store(self, document: bytes) -> str:
        """Stores a document for a job, and returns its name there."""
        said: list[str] = []
        getresp = self.getresp

        def noted() -> str:
            said.append(getresp())
            return said[-1]

        self.voidcmd("TYPE I")
        self.getresp = noted  # type: ignore[method-assign]  # the name stands in an answer that ftplib keeps to itself
        try:
            data, _ = self.ntransfercmd("STOT")
            with data:
                data.sendall(document)
            self.voidresp()
        finally:
            self.getresp = getresp  # type: ignore[method-assign]
        return _part(_STORED, " ".join(said), self.host)


def _part(pattern: re.Pattern[str], text: str, where: str) -> str:
    found = pattern.search(text)
    if found is None:
        raise ConnectionDown(f"{where}: the server answers something that hfaxd does not say")
    return found[1]
