"""A clearinghouse: one member table behind several façades; slow, down or wrong as told, and it keeps a ledger.

inquiry.py   what is asked, read from a 270
members.py   the member table: what each question comes to (`Verdict`)
x12.py       a verdict in X12
faults.py    what can go wrong here beside what can at any partner
ledger.py    every question received, and how it ended
facade.py    what all façades have in common: one question in, a verdict out, both in the ledger
server.py    the members, the ledger and the façades in one server (connectors/simulators/server.py)
raw.py       façade: X12 in the body of a POST
json_v3.py   façade: JSON (eligibility v3); rendered_v3.py makes it of a 271
core.py      façades: envelopes of CAQH CORE connectivity, as SOAP and as forms
form_poll.py façade: a form that is posted, a coverage that is fetched; rendered_coverage.py makes it of a 271
batch.py     façade: files of many questions, dropped into a folder and answered in another

    async with Clearinghouse([Member(...)]) as house:
        house.faults.script("401", "429 after 1", "silent after commit")
        ...
        assert not house.ledger.needless()

Deliberately written without the hub's own X12 code, so that a mistake there does not cancel itself out here.
"""

from connectors.simulators.clearinghouse.batch import Batch, BatchDrop
from connectors.simulators.clearinghouse.facade import Facade
from connectors.simulators.clearinghouse.faults import Fault, Faults
from connectors.simulators.clearinghouse.inquiry import Inquiry, read_270, read_270s
from connectors.simulators.clearinghouse.ledger import Entry, Ledger
from connectors.simulators.clearinghouse.members import Member, MemberTable, Rejection, Verdict
from connectors.simulators.clearinghouse.server import Clearinghouse
from connectors.simulators.server import Behaviour

__all__ = [
    "Batch",
    "BatchDrop",
    "Behaviour",
    "Clearinghouse",
    "Entry",
    "Facade",
    "Fault",
    "Faults",
    "Inquiry",
    "Ledger",
    "Member",
    "MemberTable",
    "Rejection",
    "Verdict",
    "read_270",
    "read_270s",
]
