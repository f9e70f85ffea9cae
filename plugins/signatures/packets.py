"""Which documents a visit needs signed, as data of the step `plan_packets`, and planning that they are."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from hub import Appointment, Context, Message, MessageUnusable, Step, StepConfig, StepResult
from hub.people import current_chart
from hub.records import GONE
from hub.records_signing import Envelope, Signer, SigningPlan
from hub.units import Duration
from plugins.signatures.envelopes import (
    REMINDERS,
    envelopes_of,
    keyed,
    note,
    plan,
    plan_for_visit,
    release,
    tell,
)

FileName = Annotated[str, StringConstraints(pattern=r"^[^/\\]+\.[Pp][Dd][Ff]$", max_length=200)]


class PacketSigner(BaseModel):
    """Who signs."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    role: str = Field(default="patient", pattern=r"^[a-z][a-z0-9_ -]*$", max_length=40)
    """`patient` is filled in from the chart; others have name and address here."""
    name: str = ""
    """Name, for everybody but the patient."""
    email: str = ""
    """E-mail address, for everybody but the patient."""
    order: int = Field(default=1, ge=1, le=20)
    """Who signs first has 1; the same number may sign at the same time."""

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if (self.role == "patient") == bool(self.name or self.email):
            raise ValueError("the patient's name and address come from the chart; everybody else needs `name` and `email` here")
        if self.role != "patient" and not (self.name and self.email):
            raise ValueError(f"the signer {self.role!r} needs `name` and `email`")
        return self


class Packet(BaseModel):
    """Documents that are signed together."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    title: str = Field(min_length=1, max_length=100)
    """What the patient reads in the subject: nothing that tells about a disease."""
    text: str = Field(default="", max_length=2000)
    """What the patient reads in the message."""
    types: list[str] = ["*"]
    """Types of appointments that need it, as the EHR names them; `*` for all."""
    files: list[FileName] = []
    """Names of PDF files in the folder `documents` of the connection."""
    template: str | None = None
    """The signing service's id of a template, in place of files."""
    signers: list[PacketSigner] = Field(default=[PacketSigner()], min_length=1, max_length=10)
    """Who signs."""
    valid_for: Duration | None = Field(default=None, gt=0)
    """How long it need not be signed again; without it each visit needs its own."""
    remind: list[Duration] = Field(default=[3 * 86400.0, 86400.0], max_length=REMINDERS)
    """How long before the visit the service reminds who has not signed."""
    due: Duration = Field(default=86400.0, ge=0)
    """How long before the visit the front desk hears that it is not signed."""
    expires_after: Duration | None = Field(default=None, gt=0)
    """How long it can be signed; as long as the service allows when this is not given."""
    certificate: bool = True
    """Whether the service's certificate is fetched beside the signed document."""
    queue: str = "front_desk"
    """Worklist of what has to be done about it."""

    @model_validator(mode="after")
    def _has_something_to_sign(self) -> Self:
        if bool(self.files) == (self.template is not None):
            raise ValueError("a packet has `files`, or a `template`")
        return self

    def is_for(self, appointment: Appointment) -> bool:
        named = (appointment.type or "").strip().upper()
        return any(type == "*" or type.strip().upper() == named for type in self.types)


class PlanPacketsConfig(StepConfig):
    """Which packets there are."""

    packets: dict[str, Packet] = Field(min_length=1)
    """Packets by name."""
    looks: list[Duration] = Field(default=[900.0, 3600.0, 21600.0, 86400.0], min_length=1, max_length=20)
    """Waits between looks at an envelope that is out, for webhooks that get lost; the last is repeated. Services limit looks:
    one in 15 minutes is what they allow."""


class PlanPackets(Step[PlanPacketsConfig]):
    """Has signed what a visit needs: sends each packet once, re-uses what is valid, and moves reminders with the visit."""

    kind = "plan_packets"
    main = "packets"

    async def run(self, message: Message, context: Context) -> StepResult:
        appointment = message.record
        if not isinstance(appointment, Appointment):
            raise MessageUnusable(f"plan_packets works on an appointment, but this is {message.format}", code="SIG-001")
        if _is_ahead(appointment, context):
            chart = await current_chart(appointment.patient_id, context)
            known = await envelopes_of(chart, context) if chart is not None else []
            for name, packet in self.config.packets.items():
                own = [envelope for envelope in known if envelope.packet == name]
                if chart is not None and packet.is_for(appointment):
                    await self._plan(name, packet, appointment, chart.id, own, context)
                else:
                    await self._not_needed(appointment, own, context)
        return message

    async def _plan(
        self, name: str, packet: Packet, appointment: Appointment, patient: str, known: list[Envelope], context: Context
    ) -> None:
        envelope = _serving(known, packet, appointment)
        if envelope is None:
            envelope = self._new(name, packet, appointment, patient, context)
            plan(envelope, "send", context.now, context)
            note(envelope, context)
        elif appointment.id not in envelope.appointments:
            envelope = envelope.model_copy(update={"appointments": [*envelope.appointments, appointment.id]})
            note(envelope, context, "serves this visit too")
            await _tell_what_lacks(envelope, context)
        await context.put(envelope)
        keyed(envelope, context)
        plan_for_visit(envelope, appointment, list(packet.remind), packet.due, context)

    def _new(self, name: str, packet: Packet, appointment: Appointment, patient: str, context: Context) -> Envelope:
        return Envelope(
            id=context.new_id("sig"),
            packet=name,
            title=packet.title,
            text=packet.text,
            files=list(packet.files),
            template=packet.template,
            signers=[Signer(**signer.model_dump()) for signer in packet.signers],
            appointments=[appointment.id],
            patient_id=patient,
            plan=SigningPlan(
                looks=list(self.config.looks),
                valid_for=packet.valid_for,
                queue=packet.queue,
                certificate=packet.certificate,
            ),
            expires_at=context.now + timedelta(seconds=packet.expires_after) if packet.expires_after else None,
            ordered_at=context.now,
        )

    async def _not_needed(self, appointment: Appointment, known: list[Envelope], context: Context) -> None:
        """The visit became one of another type."""
        for envelope in known:
            if appointment.id in envelope.appointments:
                await release(envelope, appointment.id, "the visit needs it no more", context)


def _is_ahead(appointment: Appointment, context: Context) -> bool:
    if appointment.status in GONE or appointment.status not in ("booked", "rescheduled", "changed"):
        return False
    return appointment.starts_at is not None and appointment.starts_at > context.now


def _serving(known: list[Envelope], packet: Packet, appointment: Appointment) -> Envelope | None:
    """The envelope that does for a visit: its own whatever became of it, one that is signed and valid, or one that is out."""
    known = [envelope for envelope in known if envelope.withdrawn is None and envelope.state != "voided"]
    for envelope in known:
        if appointment.id in envelope.appointments and not _has_run_out(envelope, appointment):
            return envelope
    if packet.valid_for is None:
        return None
    signed = [envelope for envelope in known if envelope.state == "completed" and not _has_run_out(envelope, appointment)]
    return next(iter(signed or [envelope for envelope in known if not envelope.is_over]), None)


def _has_run_out(envelope: Envelope, appointment: Appointment) -> bool:
    """Signed, and not valid any more when the visit takes place."""
    until = envelope.valid_until
    return until is not None and appointment.starts_at is not None and until < appointment.starts_at


async def _tell_what_lacks(envelope: Envelope, context: Context) -> None:
    if envelope.lacks == "email":
        await tell(envelope, "no e-mail", NO_EMAIL.format(title=envelope.title), context)


NO_EMAIL = (
    "{title}: cannot be sent for signature, because the chart has no e-mail address. Ask the patient for one,"
    " or have it signed at the desk."
)
