"""`hub send`: an MLLP client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "target", required=True, metavar="HOST:PORT", help="Where to send.")
@click.option("--tls-ca", type=click.Path(exists=True, path_type=Path), help="Use TLS and trust this authority (PEM).")
@click.option("--cert", type=click.Path(exists=True, path_type=Path), help="Our certificate, for mutual TLS.")
@click.option("--key", type=click.Path(exists=True, path_type=Path), help="Its key.")
@click.option("--timeout", default="30s", show_default=True, help="How long an acknowledgement may take.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
def send(
    files: tuple[Path, ...], target: str, tls_ca: Path | None, cert: Path | None, key: Path | None, timeout: str, as_json: bool
) -> int:
    """Send each HL7 v2 message of FILES over MLLP and print its acknowledgement.

    Exit 0 when all were accepted, 5 when all were refused, 3 when some were, 4 when the partner cannot be reached.
    """
    import asyncio

    from hub.errors import Refused

    host, _, port = target.rpartition(":")
    if not host or not port.isdecimal():
        raise Refused(f"--to {target!r} is not HOST:PORT", code="CLI-004")
    config: dict[str, Any] = {
        "kind": "mllp_sender",
        "host": host.strip("[]"),
        "port": int(port),
        "timeout": timeout,
        "allow_plaintext": "sent by hand",
    }
    if tls_ca is not None or cert is not None:
        config["tls"] = {"ca": tls_ca, "cert": cert, "key": key}
    results = asyncio.run(_send_all(files, _sender(config), as_json))
    accepted = sum(results)
    if accepted == len(results) and results:
        return 0
    return 3 if accepted else 5


def _sender(config: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from connectors.mllp import MllpSender, SenderConfig
    from hub.errors import Refused

    try:
        return MllpSender("send", SenderConfig.model_validate(config))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        option = {"host": "--to", "port": "--to", "timeout": "--timeout"}.get(str(wrong["loc"][0]) if wrong["loc"] else "", "")
        text = wrong["msg"].removeprefix("Value error, ")
        raise Refused(f"{option}: {text}" if option else text, code="CLI-004") from None


async def _send_all(files: tuple[Path, ...], sender: Any, as_json: bool) -> list[bool]:
    """Sends one after the other and tells of each at once: what went through is known although the next one fails.

    Returns for each whether it was accepted; one that asks for no answer (MSH-15 and MSH-16) is, when it was sent.
    """
    from hub.formats.hl7v2 import split

    accepted: list[bool] = []
    await sender.open_destination()
    try:
        for file in files:
            bodies: list[bytes | None] = [part.body for part in split(file.read_bytes())[0]]
            for body in bodies or [None]:
                result = _NOTHING_TO_SEND if body is None else await _send_one(sender, body)
                _show({"file": str(file), **result}, as_json)
                accepted.append(bool(result["accepted"]))
    finally:
        await sender.close()
    return accepted


_NOTHING_TO_SEND = {"control_id": None, "code": None, "accepted": False, "text": "there is no HL7 v2 message in it"}


async def _send_one(sender: Any, body: bytes) -> dict[str, Any]:
    from hub.errors import MessageRejected
    from hub.formats.hl7v2 import Hl7
    from hub.message import Message

    control_id = Hl7(body).control_id
    try:
        answer = await sender.send(Message(body, "hl7v2"))
    except MessageRejected as error:
        return {"control_id": control_id, "code": error.answer or None, "accepted": False, "text": str(error)}
    if answer is None:
        return {"control_id": control_id, "code": None, "accepted": True, "text": "sent; it asks for no answer"}
    return {"control_id": control_id, "code": answer.headers["answer"], "accepted": True, "text": None}


def _show(result: dict[str, Any], as_json: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps(result))
    else:
        text = f"  {result['text']}" if result["text"] else ""
        click.echo(f"{result['code'] or '-':3} {result['control_id'] or '-'}  {result['file']}{text}")
