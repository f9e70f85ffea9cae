"""A signing service: one table of envelopes behind several vendors' façades, signers with behaviour, and a ledger.

envelopes.py     the table: envelopes, signers and what they do, what happened when
pdf.py           documents as they come back: a page that says who signed
server.py        the HTTP server, the pace at which signers act, webhooks
facade.py        what the façades share
docusign.py      façade: eSignature REST v2.1 with JWT grant, Connect webhooks
dropbox_sign.py  façade: API v3 with forms, account callbacks

    async with SigningService() as service:
        service.faults.script("503", "silent after commit", to="send")
        service.hooks.url = "http://127.0.0.1:8443/signatures"
        ...
        assert not service.table.twice()

What a signer does stands in the e-mail address, so that a story is told by its data: `declines.jane@x.example` declines; so do
`views`, `never`, `bounces` and `expires`; everybody else signs.
"""

from connectors.simulators.signer.docusign import DocuSign
from connectors.simulators.signer.dropbox_sign import DropboxSign
from connectors.simulators.signer.envelopes import Envelope, Envelopes, Person
from connectors.simulators.signer.server import SigningService

__all__ = ["DocuSign", "DropboxSign", "Envelope", "Envelopes", "Person", "SigningService"]
