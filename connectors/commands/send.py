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
    results = asyncio.run(_send_all(files, config))
    for result in results:
        _show(result, as_json)
    accepted = sum(result["code"] in ("AA", "CA") for result in results)
    if accepted == len(results) and results:
        return 0
    return 3 if accepted else 5


async def _send_all(files: tuple[Path, ...], config: dict[str, Any]) -> list[dict[str, Any]]:
    from connectors.mllp import MllpSender, SenderConfig
    from hub.formats.hl7v2 import split

    sender = MllpSender("send", SenderConfig.model_validate(config))
    await sender.open_destination()
    results = []
    try:
        for file in files:
            parts, _ = split(file.read_bytes())
            if not parts:
                results.append(
                    {"file": str(file), "control_id": None, "code": None, "text": "there is no HL7 v2 message in it"}
                )
            for part in parts:
                results.append({"file": str(file), **await _send_one(sender, part.body)})
    finally:
        await sender.close()
    return results


async def _send_one(sender: Any, body: bytes) -> dict[str, Any]:
    from hub.errors import MessageRejected
    from hub.formats.hl7v2 import Hl7
    from hub.message import Message

    control_id = Hl7(body).control_id
    try:
        answer = await sender.send(Message(body, "hl7v2"))
    except MessageRejected as error:
        return {"control_id": control_id, "code": error.answer or None, "text": str(error)}
    return {"control_id": control_id, "code": answer.headers["answer"] if answer is not None else None, "text": None}


def _show(result: dict[str, Any], as_json: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps(result))
    else:
        text = f"  {result['text']}" if result["text"] else ""
        click.echo(f"{result['code'] or '-':3} {result['control_id'] or '-'}  {result['file']}{text}")
