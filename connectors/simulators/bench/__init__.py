"""How fast a hub is on this machine, beside how fast anything could be that keeps the same promises."""
