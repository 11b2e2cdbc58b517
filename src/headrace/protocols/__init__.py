"""How a request is read and how events become bytes: one file for each language a reader speaks, and their table.

Floor 3, and pure: may import floors 0 to 2, opens nothing and waits for nothing. Knows no provider, run or stream.
"""
