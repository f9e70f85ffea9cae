"""The far sides, simulated: what the demo and the tests talk to over real sockets.  They can misbehave on purpose.

server.py   the HTTP server of a partner: port, tokens, control of its faults; `Simulator` is what a family inherits
facade.py   one vendor's way to ask: who may, which fault is next, how an answer goes wrong
faults.py   the words for what goes wrong, used up one for each request
hooks.py    webhooks: told twice, late, out of order, forged, or never
"""
