"""Words typed by people: the `headrace` command.

Floor 6. May import every floor; click at the top, and anything dear only where it is used, because imports decide how
a command feels.
"""
