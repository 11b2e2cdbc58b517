"""Readers' keys: where they are kept, whose a key is, and what it may use.

Floor 3. May import floors 0 to 2, sqlite3 and limits. A key itself is written nowhere: what is kept, compared and
listed is its SHA-256 and its first characters.

- `database.py`  the keys that `headrace keys` makes, in a file of SQLite
- `keyring.py`   all keys a server knows, those of the settings too, and the streams and readers of each
- `quota.py`     how many requests a minute
- `sessions.py`  logins of pages, which carry a cookie instead of a key
"""
