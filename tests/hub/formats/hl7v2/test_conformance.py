"""The optional conformance check: warnings in words, in a process of its own, that nobody waits for."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from hub.errors import StoreError
from hub.formats.hl7v2.conformance import LARGEST, SAMPLE, Conformance, check
from tests.hub.formats.messages import hl7, with_charset
from tests.support import adt, ask, clinic_folder, port_of, running_hub, until

CANARY = "ZZCANARY"
GOOD = hl7("EVN|A04|20261130143000", "PID|1||42^^^RIVER^MR||DOE^JANE", "PV1|1|O")
NO_SEX = "PID-8 (Administrative sex) has a value that is not in table HL70001"


def with_pid(pid: str, *more: str) -> bytes:
    return hl7("EVN|A04|20261130143000", pid, "PV1|1|O", *more)


# What is found.


def test_a_good_message_has_no_warning() -> None:
    assert check(GOOD) == []
    assert check(GOOD.replace(b"ADT^A04", b"ADT^A04^ADT_A04")) == [], "MSH-9.3 is never trusted"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (with_pid(f"PID|1||42||DOE|||{CANARY}"), NO_SEX),
        (with_pid(f"PID|1||||{CANARY}"), "PID-3 (Patient identifier list) is missing"),
        (hl7(f"PID|1||{CANARY}||DOE", "PV1|1|O"), "EVN is missing"),
        (with_pid(f"PID|1||42||{CANARY}", f"NTE|1||{CANARY}"), "NTE is no segment of ADT_A01 in version 2.5"),
        (with_pid(f"PID|1||42||{'^' * 30}{CANARY}"), "PID-5 (Patient name) has parts that it cannot have"),
        (GOOD.replace(b"|2.5", b"|2.9"), "MSH-12: there are no tables for this version, so nothing was checked"),
        (GOOD.replace(b"ADT^A04", b"ZZZ^Z01"), "MSH-9: there is no structure for this type of message, so nothing was checked"),
        (b"hello", "it does not begin with an MSH segment, so it is no HL7 v2 message"),
    ],
)
def test_what_is_not_as_the_standard_says_is_named_without_its_value(body: bytes, expected: str) -> None:
    found = check(body)
    assert expected in found
    assert CANARY not in " ".join(found)


def test_segments_of_ones_own_are_no_finding_and_line_ends_neither() -> None:
    assert check(with_pid("PID|1||42||DOE", "ZPD|1|own")) == []
    assert check(GOOD.replace(b"\r", b"\r\n")) == []
    assert check(GOOD.replace(b"|2.5", b"|2.3")) == []
    assert check(with_charset(b"8859/1", b"EVN|A04|20261130", b"PID|1||42||M\xfcller", b"PV1|1|O")) == []


def test_every_sample_is_checked_to_its_end(samples: Path) -> None:
    for file in sorted((samples / "hl7").glob("*.hl7")):
        assert len(check(file.read_bytes())) <= 20


# That nobody waits for it.


class Told:
    """Collects warnings."""

    def __init__(self) -> None:
        self.all: list[list[str]] = []

    def __call__(self, warnings: list[str]) -> None:
        self.all.append(warnings)


async def test_messages_are_checked_one_after_the_other_in_a_process_of_their_own() -> None:
    checks, told = Conformance("all"), Told()
    for _ in range(3):
        checks.offer(with_pid("PID|1||42||DOE|||X"), None, told)
        checks.offer(GOOD, None, told)
    await until(lambda: len(told.all) == 3, timeout=30)
    assert told.all == [[NO_SEX]] * 3
    assert checks._worker is not None
    assert checks._worker.pid != os.getpid()
    pid = checks._worker.pid
    await checks.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_check_that_takes_too_long_is_given_up_and_the_next_one_is_made() -> None:
    checks, told = Conformance("all", time_limit=2.0), Told()
    checks.offer(with_pid("PID|1||42||DOE|||X"), None, told)
    await until(lambda: len(told.all) == 1, timeout=30)
    assert checks._worker is not None
    os.kill(checks._worker.pid, signal.SIGSTOP)
    checks.offer(with_pid("PID|1||42||DOE|||X"), None, told)
    checks.offer(with_pid("PID|1||42||DOE|||X"), None, told)
    await until(lambda: len(told.all) == 3, timeout=30)
    assert told.all[1:] == [["not checked: it took longer than 2 s"], [NO_SEX]]
    os.kill(checks._worker.pid, signal.SIGKILL)
    checks.offer(with_pid("PID|1||42||DOE|||X"), None, told)
    checks.offer(with_pid("PID|1||42||DOE|||X"), None, told)
    await until(lambda: len(told.all) == 5, timeout=30)
    assert told.all[3:] == [["not checked: the worker failed"], [NO_SEX]]
    await checks.close()


async def test_more_than_may_wait_are_passed_over_and_counted() -> None:
    checks, told = Conformance("all", waiting=5), Told()
    for _ in range(20):
        checks.offer(GOOD, None, told)
    assert checks.passed_over == 15
    await checks.close()


async def test_a_sample_is_one_of_a_hundred_and_off_is_none() -> None:
    for mode, count in (("sample", 3), ("off", 0), ("all", 2 * SAMPLE + 1)):
        checks = Conformance(mode, waiting=1000)  # type: ignore[arg-type]
        for _ in range(2 * SAMPLE + 1):
            checks.offer(GOOD, None, Told())
        checks.offer(GOOD + b"x" * LARGEST, None, Told())
        assert checks._queue.qsize() == count
        await checks.close()


async def test_a_hub_that_is_closing_is_no_reason_to_fail() -> None:
    checks, told = Conformance("all"), Told()

    def closing(_: list[str]) -> None:
        raise StoreError("closing")

    checks.offer(with_pid("PID|1||42||DOE|||X"), None, closing)
    checks.offer(with_pid("PID|1||42||DOE|||X"), None, told)
    await until(lambda: len(told.all) == 1, timeout=30)
    await checks.close()


async def test_answers_do_not_wait_for_checks(tmp_path: Path) -> None:
    """Not even when the worker hangs."""
    text = "connections: {ehr: {kind: mllp_listener, port: '0', conformance: all}}\nflows: {}\n"
    async with running_hub(clinic_folder(tmp_path, text)) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
        checks: Conformance = hub.sources["ehr"].conformance  # type: ignore[attr-defined]
        await ehr.send(adt("M0"))
        await until(lambda: checks._worker is not None, timeout=30)
        assert checks._worker is not None
        os.kill(checks._worker.pid, signal.SIGSTOP)
        async with asyncio.timeout(10):
            for number in range(120):
                assert (await ehr.send(adt(f"M{number + 1}"))).code == "AA"
        assert checks.passed_over >= 120 - 60


async def test_warnings_stand_on_the_timeline_of_the_message_and_refuse_nothing(tmp_path: Path) -> None:
    text = (
        "connections: {ehr: {kind: mllp_listener, port: '0', conformance: all}}\n"
        "flows: {f: {from: ehr, steps: [{map: adt_to_patient}]}}\n"
    )
    async with running_hub(clinic_folder(tmp_path, text)) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
        body = adt("M1").replace(b"|F\r", f"|{CANARY}\r".encode())
        assert (await ehr.send(body)).code == "AA"
        assert (await ehr.send(body)).code == "AA", "a resend is not checked again"

        async def warned() -> list[str]:
            trace = await ask(hub, "trace", id="M1")
            return [line["text"] for line in trace["entries"] if line["what"] == "conformance"]

        for _ in range(300):
            if found := await warned():
                break
            await asyncio.sleep(0.1)
        assert len(found) == 1
        assert NO_SEX in found[0]
        assert CANARY not in found[0]
        (message,) = await ask(hub, "messages.list", control_id="M1", state="delivered")
        assert message["state"] == "delivered"
