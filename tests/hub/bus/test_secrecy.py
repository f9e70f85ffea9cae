"""What the store tells a thief (sentence 11): bodies sealed, ids digested, large bodies in sealed files, changes noticed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrServer, header, message as hl7, segment
from hub.errors import ConnectionDown, MessageRejected
from hub.message import LARGE_BODY, Message
from hub.security.seal import SealBroken
from hub.step import Context, Due, StepResult
from tests.hub.bus.probe import (
    Thing,
    World,
    adt,
    control_ids,
    deliver,
    everything_stored,
    in_turn,
    one,
    rows,
    states,
    tamper,
)
from tests.support import ask, clinic_folder, in1, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: pms}]}
"""
CLINIC = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@", retry: {first: 1ms, most: 2ms, attempts: "2"}}
  payer: {kind: probe_out, on_rejected: quarantine}
flows:
  registrations: {from: inbox, when: {type: ADT^*}, steps: [{map: adt_to_patient}, {save: patient}]}
  bookings:
    from: inbox
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_checks: {on_booking: true}}]
  forward: {from: inbox, steps: [{send: pms}]}
  questions: {from: inbox, steps: [{probe: question}, {ask: payer}]}
  failures: {from: {failed: questions}, steps: [{probe: failure}]}
  planned: {from: {due: probe}, steps: [{probe: due}]}
"""
CANARIES = {
    "family name": "ZQXFAMILY",
    "given name": "ZQXGIVEN",
    "street": "ZQXSTREET",
    "phone": "5557190001",
    "birth date": "19570319",
    "chart number": "ZQXMRN8841",
    "retired chart number": "ZQXMRN8842",
    "member id": "ZQXMEMBER77",
    "social security number": "900719001",
    "free text": "ZQXNOTE",
    "reason of the visit": "ZQXREASON",
}


def told(stored: bytes) -> list[str]:
    """Which canaries can be read, in whatever writing."""
    lower = stored.lower()
    return [what for what, canary in CANARIES.items() for text in (canary.lower(),) if text.encode() in lower]


def registration(control_id: str) -> bytes:
    c = CANARIES
    pid = segment(
        "PID", f1="1", f3=f"{c['chart number']}^^^RIVER^MR", f5=f"{c['family name']}^{c['given name']}", f7=c["birth date"],
        f8="F", f11=c["street"], f13=c["phone"], f19=c["social security number"],
    )  # fmt: skip
    insurance = in1(c["member id"], f16=f"{c['family name']}^{c['given name']}", f18=c["birth date"])
    return hl7(header("ADT^A04", control_id), segment("EVN", f1="A04"), pid, insurance, f"NTE|1||{c['free text']}")


def booking(control_id: str, starts: str) -> bytes:
    c = CANARIES
    sch = segment("SCH", f1="P-1", f2="F-1", f7=c["reason of the visit"], f8="OFFICE", f11=f"^^^{starts}")
    return hl7(header("SIU^S12", control_id), sch, registration("x").split(b"\r")[2].decode())


def merge(control_id: str) -> bytes:
    return (
        registration(control_id).replace(b"ADT^A04", b"ADT^A40")
        + f"MRG|{CANARIES['retired chart number']}^^^RIVER^MR\r".encode()
    )


# Nothing can be read.


def refusal_with_patient_data(body: bytes) -> bytes:
    """A partner that names the patient in every place where it may write words."""
    name = f"{CANARIES['family name']} {CANARIES['given name']}".encode()
    id = body.split(b"\r")[0].split(b"|")[9]
    err = b"ERR||PID^1^3|207&" + name + b"^" + name + b"|E|||" + name + b"|" + name
    return b"MSH|^~\\&|P|P|H|H|20260101||ACK|A1|P|2.5\rMSA|AE|" + id + b"|" + name + b"\r" + err + b"\r"


async def test_a_thief_of_the_store_reads_no_patient_data(world: World, tmp_path: Path, store: Path) -> None:
    """Through everything that can happen: all kinds of messages, answers and failures, look-ups by people, duplicates."""
    name = f"{CANARIES['family name']}, {CANARIES['given name']}"

    @world.step
    async def question(message: Message, context: Context) -> StepResult:
        context.note("seen", f"{name} was here")
        context.key("member", CANARIES["member id"])
        context.key("patient", CANARIES["chart number"])
        await context.save(Thing(id="t-1", text=name))
        when = datetime.now(UTC) + timedelta(days=1)
        context.plan(Due("probe", "k-1", when, {"id": "t", "text": name}, lane=CANARIES["chart number"]))
        if b"SIU" in message.body:
            raise ValueError(f"no room for {name}")
        return message

    @world.partner
    async def payer(message: Message) -> Message:
        if b"A40" in message.body:
            raise MessageRejected("the payer refused it", answer="AE", reply=name.encode())
        return Message(f"answer about {name}".encode(), "bytes")

    async with EhrServer(script=lambda body, control_id, tries: "AE") as pms:
        file = clinic_folder(tmp_path, CLINIC.replace("@PORT@", str(pms.port)))
        async with running_hub(file) as hub:
            tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y%m%d0900")
            bodies = [registration("M1"), booking("M2", tomorrow), booking("M3", CANARIES["family name"]), merge("M4")]
            await in_turn(hub, [*bodies, *bodies, registration("M1").replace(b"|F|", b"|M|"), b"MSH|" + bodies[0]])
            await hub.sources["inbox"].deliver.refuse(Message(registration("M9"), "hl7v2"), "answered AR")  # type: ignore[attr-defined]
            await settled(hub)
            await ask(hub, "messages.list", patient=CANARIES["chart number"], phi=True)
            await ask(hub, "thing.look", id="t-1", patient=CANARIES["chart number"])
            await ask(hub, "eligibility.list", date="tomorrow")
            stored = everything_stored(tmp_path)  # database, write-ahead log and files as they are while the hub runs
        stored += everything_stored(tmp_path)
    assert len(states(store, "flow:questions")) > 4
    assert told(stored) == []


@pytest.mark.parametrize("operation", ["trace", "messages.list"])
async def test_whom_people_look_for_cannot_be_read_in_the_audit(world: World, tmp_path: Path, operation: str) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, registration("M1"))
        await settled(hub)
        chart = CANARIES["chart number"]
        found = await ask(hub, operation, **({"id": chart} if operation == "trace" else {"patient": chart}))
        assert found
        stored = everything_stored(tmp_path)
    assert told(stored) == []


async def test_what_a_partner_writes_about_a_patient_is_not_kept_in_the_clear(world: World, tmp_path: Path) -> None:
    async def far_side(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
            while frame := await reader.readuntil(b"\x1c\r"):
                writer.write(b"\x0b" + refusal_with_patient_data(frame.strip(b"\x0b\x1c\r")) + b"\x1c\r")

    server = await asyncio.start_server(far_side, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = FLOW.replace(
        "pms: {kind: probe_out}", f'pms: {{kind: mllp_sender, host: 127.0.0.1, port: "{port}", on_rejected: quarantine}}'
    )
    async with running_hub(clinic_folder(tmp_path, text)) as hub:
        await deliver(hub, registration("M1"))
        await settled(hub)
        assert await ask(hub, "messages.list", state="quarantined")
        stored = everything_stored(tmp_path)
    server.close()
    assert told(stored) == []


async def test_the_same_patient_looks_different_under_another_key(world: World, tmp_path: Path) -> None:
    found = []
    for clinic in ("a", "b"):
        async with running_hub(clinic_folder(tmp_path / clinic, FLOW)) as hub:
            await deliver(hub, registration("M1"))
            for query in ("SELECT value FROM message_key WHERE kind = 'patient'", "SELECT lane FROM work"):
                found.append(set(rows(hub.core.store.path, query)))
    patients_a, lanes_a, patients_b, lanes_b = found
    assert not patients_a & patients_b
    assert not lanes_a & lanes_b


async def test_nobody_else_may_read_the_store(world: World, tmp_path: Path, store: Path) -> None:
    before = os.umask(0o022)
    try:
        async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
            await deliver(hub, adt("M1"), large("M2", LARGE_BODY + 1))
            await settled(hub)
            files = [f for f in store.parent.rglob("*") if f.is_file() and not f.name.endswith((".sock", ".lock"))]
            readable = [f.relative_to(store.parent) for f in files if can_be_read_by_others(f, store.parent)]
    finally:
        os.umask(before)
    assert readable == []


def can_be_read_by_others(file: Path, top: Path) -> bool:
    folders = [folder for folder in file.parents if folder.is_relative_to(top) and folder != top]
    return bool(file.stat().st_mode & 0o077) and all(folder.stat().st_mode & 0o011 for folder in folders)


# Large bodies.


def large(control_id: str, size: int, mrn: str = "42") -> bytes:
    text = random.Random(size).randbytes(size // 2).hex()
    return adt(control_id, mrn, more=(f"OBX|1|ED|PDF||{text}",))


def files_of(store: Path) -> list[Path]:
    return sorted(f for f in store.with_name(store.name + ".files").rglob("*") if f.is_file())


@pytest.mark.parametrize("size", [300_000, 5_000_000], ids=["300-KB", "5-MB"])
async def test_a_large_body_is_kept_in_a_sealed_file_and_read_back(
    world: World, tmp_path: Path, store: Path, size: int
) -> None:
    body = large("M1", size)
    file = clinic_folder(tmp_path, FLOW)
    async with running_hub(file) as hub:
        receipt = await deliver(hub, body)
        await settled(hub)
        assert world.bodies("pms") == [body]
    [kept] = files_of(store)
    assert body[1000:1100] not in kept.read_bytes()
    assert kept.name not in {
        hash(body).hexdigest()[: len(kept.name)] for hash in (hashlib.sha256, hashlib.blake2b, hashlib.md5)
    }
    assert kept.name not in {hashlib.blake2b(body, digest_size=n).hexdigest() for n in (16, 32)}, "named by a keyed digest"
    assert one(store, "SELECT max(length(body)) FROM message") < 1000, "the row has no body"
    async with running_hub(file) as hub:
        shown = await ask(hub, "messages.show", id=receipt.ids[0], phi=True)
        assert shown["body"].encode() == body
        assert shown["size"] == len(body)


@pytest.mark.parametrize(("size", "files"), [(LARGE_BODY, 0), (LARGE_BODY + 1, 1)], ids=["256-KB", "a-byte-more"])
async def test_bodies_over_256_kilobytes_go_to_files(world: World, tmp_path: Path, store: Path, size: int, files: int) -> None:
    async with running_hub(clinic_folder(tmp_path, "connections:\n  inbox: {kind: probe_in}\n")) as hub:
        receipt = await deliver(hub, b"x" * size, format="bytes")
        assert len(files_of(store)) == files
        assert (await hub.core.bodies.load(receipt.ids[0])).body == b"x" * size


async def test_the_same_large_body_is_one_file(world: World, tmp_path: Path, store: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        body = large("M1", 300_000)
        await asyncio.gather(*(deliver(hub, body, format="bytes") for _ in range(5)))
        await settled(hub)
    assert len(files_of(store)) == 1
    assert world.bodies("pms") == [body] * 5


async def test_a_large_body_is_not_in_memory_until_somebody_asks(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, "connections:\n  inbox: {kind: probe_in}\n")) as hub:
        receipt = await deliver(hub, large("M1", 300_000))
        message = await hub.core.bodies.load(receipt.ids[0])
        assert not isinstance(message.payload, bytes)
        assert len(message.body) > LARGE_BODY


# Changes are noticed.


def flip_a_bit(value: bytes) -> bytes:
    changed = bytearray(value)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "flipped-bit": flip_a_bit,
    "flipped-bit-in-the-key-number": lambda value: value[:2] + bytes([value[2] ^ 1]) + value[3:],
    "flipped-bit-in-the-nonce": lambda value: value[:6] + bytes([value[6] ^ 1]) + value[7:],
    "flipped-last-bit": lambda value: value[:-1] + bytes([value[-1] ^ 1]),
    "cut-by-a-byte": lambda value: value[:-1],
    "cut-to-half": lambda value: value[: len(value) // 2],
    "cut-to-nothing": lambda value: b"",
    "longer": lambda value: value + b"\0",
    "another-version": lambda value: b"\x02" + value[1:],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_a_changed_body_is_noticed(world: World, tmp_path: Path, store: Path, change: Callable[[bytes], bytes]) -> None:
    file = clinic_folder(tmp_path, FLOW)
    async with running_hub(file) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
    tamper(store, "UPDATE message SET body = ? WHERE seq = 1", change(one(store, "SELECT body FROM message WHERE seq = 1")))
    async with running_hub(file) as hub:
        with pytest.raises(SealBroken):
            await ask(hub, "messages.show", id=receipt.ids[0], phi=True)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_a_changed_file_is_noticed(world: World, tmp_path: Path, store: Path, change: Callable[[bytes], bytes]) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, large("M1", 300_000))
        await settled(hub)
        [kept] = files_of(store)
        await asyncio.to_thread(kept.write_bytes, change(kept.read_bytes()))
        with pytest.raises(SealBroken):
            await ask(hub, "messages.show", id=receipt.ids[0], phi=True)


async def wants_to_tell(message: Message, context: Context) -> StepResult:
    context.note("seen", f"note of {control_ids([message])[0]}")
    await context.save(Thing(id=control_ids([message])[0], text="secret of " + control_ids([message])[0]))
    return None


SWAPS = {
    "bodies": "UPDATE message SET body = (SELECT o.body FROM message AS o WHERE o.seq = 3 - message.seq) WHERE seq IN (1, 2)",
    "notes": "UPDATE note SET seq = 3 - seq WHERE seq IN (1, 2)",
    "records": "UPDATE record SET body = (SELECT o.body FROM record AS o WHERE o.id != record.id)",
    "files": "UPDATE message SET file = (SELECT o.file FROM message AS o WHERE o.seq = 3 - message.seq) WHERE seq IN (1, 2)",
}


@pytest.mark.parametrize("what", SWAPS)
async def test_values_that_were_moved_to_another_row_are_noticed(world: World, tmp_path: Path, store: Path, what: str) -> None:
    """A value is bound to its place: the chart of one patient must not open as that of another."""
    world.steps["work"] = wants_to_tell
    file = clinic_folder(tmp_path, FLOW)
    size = 300_000 if what == "files" else 0
    async with running_hub(file) as hub:
        receipts = await in_turn(hub, [large("M1", size, "1"), large("M2", size + 2, "2")])
        await settled(hub)
    assert tamper(store, SWAPS[what]) == 2
    looks = {"notes": ("trace", receipts[0].ids[0]), "records": ("thing.look", "M1")}
    operation, id = looks.get(what, ("messages.show", receipts[0].ids[0]))
    params = {"id": id} if operation == "thing.look" else {"id": id, "phi": True}
    async with running_hub(file) as hub:
        with pytest.raises(SealBroken):
            await ask(hub, operation, **params)


async def test_planned_work_that_was_moved_is_noticed_and_does_not_keep_the_hub_from_starting(
    world: World, tmp_path: Path, store: Path
) -> None:
    """One row that does not open is for a person to see; all other planned work is done."""
    soon = datetime.now(UTC) + timedelta(seconds=2)

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        for key in ("a", "b", "c"):
            context.plan(Due("probe", key, soon, {"id": key}))
        return None

    file = clinic_folder(tmp_path, FLOW + "  planned: {from: {due: probe}, steps: [{probe: due}]}\n")
    async with running_hub(file) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
    assert tamper(store, "UPDATE due SET payload = (SELECT payload FROM due WHERE key = 'b') WHERE key = 'a'") == 1
    world.runs.clear()
    async with running_hub(file):
        await until(lambda: len([name for name, _ in world.runs if name == "due"]) == 2, timeout=5)


@pytest.mark.parametrize("what", ["changed", "gone"])
async def test_a_body_that_cannot_be_read_holds_its_lane_visibly_and_no_other(
    world: World, tmp_path: Path, store: Path, what: str
) -> None:
    """Nobody may look for hours at a message that seems to be working."""
    away = True

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        if away:
            raise ConnectionDown("not yet", retry_after=3600)
        return message

    file = clinic_folder(tmp_path, FLOW)
    async with running_hub(file) as hub:
        await in_turn(hub, [large("M1", 300_000, "1"), large("M2", 300_000, "2")])
        await until(lambda: len(world.runs) == 2)
    away = False
    if what == "changed":
        assert tamper(store, "UPDATE message SET body = zeroblob(length(body)) WHERE control_id = 'M1'") == 1
    else:
        name = one(store, "SELECT file FROM message WHERE control_id = 'M1'")
        [lost] = [f for f in files_of(store) if f.name == name]
        lost.unlink()
    async with running_hub(file) as hub:
        await until(lambda: control_ids(world.sent.get("pms", [])) == ["M2"], timeout=3)

        async def is_visible() -> bool:
            [found] = await ask(hub, "messages.list", control_id="M1", connection="inbox")
            return found["state"] in ("held", "quarantined") and bool(found["reason"])

        await until(is_visible, timeout=2)
