"""One codec per wire format: bytes to fields and back, without ever losing what came."""
