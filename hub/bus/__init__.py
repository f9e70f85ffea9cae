"""The bus: what is received is kept, flows do their work in order, and what they send arrives.

inbound.py   deliver: seal, file, commit, then answer
journal.py   the one writer, committing whatever waits as one group
lanes.py     open work, in order for each key, bounded in memory
flow.py      runs the steps of a flow up to the next `ask`, and commits what they want
outgoing.py  sends, tells failures of the connection from those of the message, retries
hub.py       puts it together, starts, stops
"""
