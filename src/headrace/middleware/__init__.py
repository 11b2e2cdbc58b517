"""What prepares a request and looks at batches on their way: nothing yet; the room stands so that the floors are whole.

Floor 3. May import floors 0 to 2. Knows no provider and no reader. Retry, failover and continuation are not here: they
are the run's own (`runs/recovery.py`).
"""
