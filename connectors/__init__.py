"""How bytes move: one protocol per file; no vendor, no workflow."""
