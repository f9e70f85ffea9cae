"""A telephone network: numbers with people who answer as told, behind a vendor's façade.

network.py      what is sent, what becomes of it, who answers what; the ledger that judges
twilio.py       façade: Twilio's messages and calls, with its signed webhooks
ringcentral.py  façade: RingCentral's texts, whose states are looked after

    async with PhoneNetwork() as network:
        network.people["+13125550101"] = Person(replies=["C"])
        network.people["+13125550102"] = Person(text="landline", digit="1")
        network.faults.script("silent after commit", to="send")
        ...
        assert not network.doubled()
"""

from connectors.simulators.phone_network.network import Person, PhoneNetwork, Thing
from connectors.simulators.phone_network.twilio import Twilio, signature

__all__ = ["Person", "PhoneNetwork", "Thing", "Twilio", "signature"]
