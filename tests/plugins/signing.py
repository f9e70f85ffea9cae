"""A clinic that has consents signed: a hub, its EHR, a simulated signing service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from connectors.simulators.ehr import EhrClient
from connectors.simulators.signer import SigningService
from connectors.simulators.signer.envelopes import Envelope as Sent
from connectors.simulators.signer.pdf import page
from hub.records import Document
from hub.records_signing import Envelope
from hub.step import Due
from hub.store.rows import Write
from tests.plugins.clinic import Clinic, adt, at, mrn, pid, quick_hub, siu
from tests.support import clinic_folder, port_of, until

PACKETS = "consent: {title: Consent for your visit, files: [consent.pdf]}"
SIGNING = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  signing:
    vendor: dropbox_sign
    kind: esign
    url: http://127.0.0.1:@PORT@/v3
    auth: {api_key: {$file: key.txt}}
    documents: forms
    timeout: 2s
    retry: {first: 20ms, most: 50ms}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps:
      - {map: siu_to_appointment}
      - {save: appointment}
      - plan_packets:
          packets: {@PACKETS@}
          looks: [@LOOKS@]
  signatures:
    from: {due: signature}
    steps: [{ask: signing}, save_signature]
  signature_failures:
    from: {failed: signatures}
    steps: [signature_failed]
"""


@dataclass
class SigningClinic(Clinic):
    """A running hub with its EHR and a signing service."""

    service: SigningService | None = None

    @property
    def signer(self) -> SigningService:
        assert self.service is not None
        return self.service

    async def registered(self, number: str = "42", email: str = "signs.jane@x.example") -> None:
        await self.tell(adt("A04", pid(mrn(number), f13=f"^NET^Internet^{email}" if email else "")))

    async def booked(self, appointment: str = "F-1", number: str = "42", trigger: str = "S12", **more: Any) -> None:
        starts: datetime = more.pop("starts", at(9))
        await self.tell(siu(trigger, appointment, starts, pid(mrn(number)), **more))

    def sent(self) -> list[Sent]:
        return list(self.signer.table.by_id.values())

    async def acted(self, *envelopes: Sent) -> None:
        """Signers do all they do, and the hub hears of it when it looks."""
        for envelope in envelopes or self.sent():
            while self.signer.move(envelope):
                pass

    async def envelopes(self, appointment: str = "F-1") -> list[Envelope]:
        found = await self.hub.core.context("test").find(Envelope, "appointment", appointment)
        return sorted(found, key=lambda envelope: (envelope.packet, envelope.ordered_at or envelope.id))

    async def envelope(self, appointment: str = "F-1") -> Envelope:
        [found] = await self.envelopes(appointment)
        return found

    async def documents(self, number: str = "42") -> list[Document]:
        chart = await self.patient(number)
        assert chart is not None
        return await self.hub.core.context("test").find(Document, "patient", chart.id)

    async def reaches_state(self, state: str, appointment: str = "F-1") -> Envelope:
        async def there() -> bool:
            return any(envelope.state == state for envelope in await self.envelopes(appointment))

        await until(there, 30)
        await self.quiet()
        return next(envelope for envelope in await self.envelopes(appointment) if envelope.state == state)


def signing_file(folder: Path, port: int, *, packets: str = PACKETS, looks: str = "1h", text: str = SIGNING) -> Path:
    (folder / "forms").mkdir(parents=True, exist_ok=True)
    (folder / "forms" / "consent.pdf").write_bytes(page(["I agree"]))
    (folder / "key.txt").write_text("sign-api-key")
    text = text.replace("@PORT@", str(port)).replace("@PACKETS@", packets).replace("@LOOKS@", looks)
    return clinic_folder(folder, text)


@asynccontextmanager
async def signing(folder: Path, *, pace: float = 0, **more: str) -> AsyncIterator[SigningClinic]:
    async with SigningService(pace=pace) as service:
        file = signing_file(folder, service.port, **more)
        async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
            yield SigningClinic(hub, client, service=service)


async def due_now(clinic: SigningClinic, envelope: str, action: str, **more: str) -> None:
    """Something becomes due now."""
    core = clinic.hub.core
    context = core.context("test")
    due = Due(
        "signature", f"{envelope}/test {action}", context.now, {"envelope": envelope, "action": action, **more}, lane=envelope
    )
    await core.journal.commit(Write(due=[core.bodies.due_row(due)]))
    await clinic.hub.due.look()
    await clinic.quiet()
