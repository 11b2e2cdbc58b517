"""Programs that read a headrace server: the Python client.

Floor 3. May import floors 0 to 2 and httpx2. Knows nothing of the server but its protocols' bytes.
"""
