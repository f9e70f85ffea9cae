"""Asking a hub: the running one over its control socket, else its store at rest, under the store's lock."""

from __future__ import annotations

import asyncio
import getpass
from pathlib import Path
from typing import Any

from hub.errors import ConfigError, ConnectionDown, HubError, NotFound, Problem, Refused, StoreError, Unreachable

_ERRORS: dict[str, type[HubError]] = {"not_found": NotFound, "refused": Refused, "store": StoreError}
TIMEOUT = 60.0


def operate(config: str, operation: str, params: dict[str, Any], *, running: bool = False) -> Any:
    """The result of an operation; raises what it raised, or Unreachable when a hub has to be running and none is."""
    path = control_socket_of(Path(config))
    if path is not None and path.exists() and (answer := _ask_running(path, operation, params)) is not _NOBODY:
        return answer
    if running:
        raise Unreachable("the hub has stopped")
    from hub.clinic import load_clinic

    return asyncio.run(_ask_at_rest(load_clinic(Path(config)), operation, params))


def control_socket_of(file: Path) -> Path | None:
    """Where a hub with this clinic file listens; None when the file does not even say where its store is.

    Read without plugins and checks, so that asking a running hub is quick.
    """
    from hub.paths import DEFAULT_STORE, POSTGRES, control_socket, store_file
    from hub.yaml_text import load_file

    data = load_file(file).data
    if not isinstance(data, dict):
        return None
    store = data.get("store") or DEFAULT_STORE
    url = store if isinstance(store, str) else POSTGRES  # only an address with a password is looked up elsewhere
    return control_socket(store_file(url, file.resolve().parent))


_NOBODY = object()


def actor() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _ask_running(path: Path, operation: str, params: dict[str, Any]) -> Any:
    import httpx2 as httpx

    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=TIMEOUT) as client:
            response = client.post(f"http://hub/api/v1/{operation}", json=params, headers={"X-Actor": actor()})
    except httpx.ConnectError:
        return _NOBODY  # the socket was left by a hub that is gone
    except httpx.HTTPError as error:
        raise Unreachable(f"the running hub does not answer on {path}: {type(error).__name__}") from None
    body = response.json()
    if response.is_success:
        return body["result"]
    if body.get("kind") == "config":
        raise ConfigError(body["text"], problems=[Problem(**problem) for problem in body["problems"]], code=body["code"])
    if body.get("kind") == "down":
        raise ConnectionDown(body["text"], code=body["code"])
    raise _ERRORS.get(body.get("kind", ""), HubError)(body["text"], code=body["code"], help=body.get("help"))


async def _ask_at_rest(clinic: Any, operation: str, params: dict[str, Any]) -> Any:
    from hub.bus.core import open_core
    from hub.bus.operations import Operations
    from hub.paths import is_postgres, store_file

    path = store_file(clinic.settings.store, clinic.settings.folder)
    if not is_postgres(clinic.settings.store) and not path.exists():
        raise Unreachable(f"there is no store at {path} yet; `hub run` makes it", code="STO-011")
    core = await open_core(clinic)
    try:
        return await Operations(core).run(operation, params, actor())
    finally:
        await core.close()
