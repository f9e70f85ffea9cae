"""The tests mirror the tree; `tests/support.py` has what they share."""
