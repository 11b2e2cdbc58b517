"""Where events come from: one file for each language an upstream speaks, and the table that names them.

Floor 3. May import floors 0 to 2, and httptools, asyncio and ssl where a connection is owned (`http.py` alone). Knows
no reader, no run and no protocol. A service that speaks a language already known is a row in `catalogue.py`.
"""
