"""Documents: how they are cut into passages, indexed and searched.

Floor 3. May import floors 0 to 2 and sqlite3. Knows no provider and no reader: it is handed to those that search.
"""
