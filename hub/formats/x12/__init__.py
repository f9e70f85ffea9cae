"""X12 005010: eligibility 270/271 (X279A1), acknowledgements 999 (X231A1) and TA1.

A reader always returns findings *and* best-effort content: a 271 with a wrong SE01 still tells what the payer said.
"""
