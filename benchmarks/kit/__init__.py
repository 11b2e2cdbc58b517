"""The measuring kit: what is run, on which core, what is counted, and how it is told.

Standard library only. The load itself is made by two C programs beside this folder, simulator.c and client.c.
"""
