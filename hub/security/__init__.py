"""Secrets of the hub itself: the key, sealing of what is stored."""
