"""A message comes in, is kept, and what it says is known."""

from pathlib import Path

from connectors.simulators.ehr import EhrClient, EhrServer
from tests.support import adt, ask, clinic_folder, port_of, running_hub, settled, until

FORWARD = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@"}
flows:
  forward:
    from: ehr
    steps: [{send: pms}]
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
"""


async def test_a_message_is_acknowledged_kept_and_forwarded(tmp_path: Path) -> None:
    async with EhrServer() as pms:
        file = clinic_folder(tmp_path, FORWARD.replace("@PORT@", str(pms.port)))
        async with running_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
            body = adt("M1")
            answer = await ehr.send(body)
            assert (answer.code, answer.control_id) == ("AA", "M1")
            await until(lambda: pms.received == [body])
            await settled(hub)
            found = await ask(hub, "messages.list", patient="00042")
            assert {m["state"] for m in found} == {"delivered"}
