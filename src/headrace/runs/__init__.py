"""One generation from its first event to its last: the only writer of a stream, with its timers and what it does on
failure.

Floor 4. May import floors 0 to 3 and asyncio. Knows no connection and no bytes.
"""
