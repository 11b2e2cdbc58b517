"""What prepares a request before its run: a conversation's earlier turns, an assistant's instructions. A file each.

Floor 3. May import floors 0 to 2. Knows no provider and no reader. Retry, failover and continuation are not here: they
are the run's own (`runs/recovery.py`).
"""
