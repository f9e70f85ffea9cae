"""A fax carrier: one table of faxes behind several façades; numbers decide how a fax ends, and the table judges.

faxes.py     the table: what was sent to whom and how it ends, what came in; nothing may be sent twice
carrier.py   the HTTP server, the time a fax takes, and webhooks
documo.py    façade: multipart with an API key; webhooks with basic authentication
srfax.py     façade: one address, what is asked stands in the body with account and password; always HTTP 200
rest.py      façade: plain REST with basic authentication, for carriers of that kind

    async with Carrier() as carrier:
        carrier.faults.script("silent after commit", to="send")
        ...
        assert not carrier.faxes.sent_twice()

Faults are scripted for `send`, `look`, `find`, `inbox`, `fetch` and `taken`, whichever façade is asked.
"""

from connectors.simulators.fax_carrier.carrier import Carrier
from connectors.simulators.fax_carrier.faxes import Fax, Faxes, Incoming

__all__ = ["Carrier", "Fax", "Faxes", "Incoming"]
