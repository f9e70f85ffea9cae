"""CAQH CORE connectivity rule vC2.2.0: X12 in an envelope over HTTPS, as SOAP 1.2 or as a multipart form, now or in batches.

settings.py   what a connection is told
envelope.py   the fields of the envelope, and the exchanges there are
soap.py       an envelope as SOAP; with its payload as an attachment (MTOM) in batches
form.py       an envelope as multipart/form-data
errors.py     what the hub does about each ErrorCode and each SOAP fault
client.py     one exchange: request, answer, error
sender.py     the connection that sends: `caqh_core`
pickup.py     the connection that fetches what became of batches: `caqh_core_pickup`

Facts: CAQH CORE Connectivity Rule vC2.2.0 (May 2020), as far as public manuals (webMethods Module for HIPAA 9.6) and public
clients of partners show it.  What those leave open is a setting with a default.
"""

from __future__ import annotations

from connectors.caqh_core.pickup import CaqhCorePickup
from connectors.caqh_core.sender import CaqhCore
from hub.connector import AnyConnector
from hub.hookspecs import hookimpl


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [CaqhCore, CaqhCorePickup]
