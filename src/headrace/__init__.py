"""headrace: every token of a language model's answer, from any upstream to any number of readers.

Data runs one way: a provider makes events, a run writes them into a stream, a protocol turns them into bytes, a server
sends the bytes. The rooms and the floors they stand on are in ARCHITECTURE.md. Importing this package imports nothing
else: whoever asks for the version or for one room pays for that alone.
"""

__version__ = "0.1.0"
