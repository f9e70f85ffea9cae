"""Commands that belong to connectors."""
