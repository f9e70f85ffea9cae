"""One day of a clinic, played over real sockets around a real hub."""
