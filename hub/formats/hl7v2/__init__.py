"""HL7 v2: bytes in, bytes kept; fields read on demand; only what is set is rewritten."""

from hub.formats.hl7v2.ack import Acknowledgement, acknowledge, read_acknowledgement
from hub.formats.hl7v2.batch import Part, split
from hub.formats.hl7v2.message import Hl7, opened

__all__ = ["Acknowledgement", "Hl7", "Part", "acknowledge", "opened", "read_acknowledgement", "split"]
