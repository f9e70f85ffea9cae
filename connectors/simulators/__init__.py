"""The far sides, simulated: what the demo and the tests talk to over real sockets.  They can misbehave on purpose."""
