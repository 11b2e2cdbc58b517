"""Readers that measure: metrics, traces and comparison follow a stream as any other reader does.

Floor 4. May import floors 0 to 3. Writes into no stream; does nothing per token that a batch could do.
"""
