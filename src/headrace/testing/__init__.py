"""Conformance suites and fakes that keep their promises, for our own tests and for those of others.

Floor 4. May import floors 0 to 3. Ships with the package, in which only `headrace demo` uses it.
"""
