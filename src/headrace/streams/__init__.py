"""The append-only, numbered record of one generation, and the stores that keep such records.

Floor 3. May import floors 0 to 2 and asyncio. Knows neither who writes into a stream nor who reads it. Only
`runs/run.py` appends to a generation.
"""
