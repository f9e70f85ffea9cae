"""Sequence numbers (MSH-13): kept, and gaps are told, also when the hub was down in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.bus.hub import Hub
from tests.connectors.wire import Wire, adt, frame, wire
from tests.support import ask, clinic_folder, port_of, running_hub

EHR = 'connections:\n  ehr: {kind: mllp_listener, port: "0"}\n  other: {kind: mllp_listener, port: "0"}\n'


def counted(number: str, control_id: str = "") -> bytes:
    return adt(control_id or f"S{number}").replace(b"|P|2.5\r", f"|P|2.5|{number}\r".encode())


async def send(partner: Wire, *numbers: str) -> None:
    for number in numbers:
        await partner.send(frame(counted(number)))
        assert str(await partner.answer()) == f"AA S{number}", "a gap is told to people; the message itself is taken"


async def flags(hub: Hub) -> dict[str, str]:
    listed = await ask(hub, "messages.list", connection="ehr")
    return {m["control_id"]: m["flag"] for m in listed if m.get("flag")}


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        (["1", "2", "3"], {}),
        (["17", "18"], {}),
        (["1", "2", "5", "6"], {"S5": "sequence number 5 came, 3 was expected"}),
        (["5", "6", "2"], {"S2": "sequence number 2 came, 7 was expected"}),
        (["5", "0", "1", "2"], {}),
        (["5", "-1", "90", "91"], {}),
        (["5", "x", "6"], {}),
        (["5", "9" * 40, "6"], {}),
    ],
    ids=str,
)
async def test_a_gap_is_told(numbers: list[str], found: dict[str, str], tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with running_hub(clinic_folder(tmp_path, EHR)) as hub, wire(port_of(hub, "ehr")) as partner:
            await send(partner, *numbers)
            assert await flags(hub) == found
    assert [line["finding"] for line in logs if "sequence" in line["event"]] == list(found.values())


async def test_a_resend_is_no_gap(tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, EHR)) as hub, wire(port_of(hub, "ehr")) as partner:
        await send(partner, "1", "2", "2", "3", "2", "3", "4")
        assert await flags(hub) == {}


@pytest.mark.parametrize(("then", "found"), [("3", {}), ("2", {}), ("5", {"S5": "sequence number 5 came, 4 never did"})])
async def test_a_gap_over_a_restart_is_told(then: str, found: dict[str, str], tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, EHR)
    async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as partner:
        await send(partner, "1", "2")
    async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as partner:
        await send(partner, then)
        assert await flags(hub) == found


async def test_each_connection_counts_for_itself(tmp_path: Path) -> None:
    async with (
        running_hub(clinic_folder(tmp_path, EHR)) as hub,
        wire(port_of(hub, "ehr")) as ehr,
        wire(port_of(hub, "other")) as other,
    ):
        await send(ehr, "1", "2")
        await send(other, "70", "71")
        await send(ehr, "3")
        assert await flags(hub) == {}
