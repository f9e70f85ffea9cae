"""Commands that belong to plugins; here, and not inside them, so that a command starts without loading its plugin."""
