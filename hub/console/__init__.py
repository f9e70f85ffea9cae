"""The API of a running hub, today on its control socket; the web console moves in here."""
