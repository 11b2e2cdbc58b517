"""Connections and doors: ASGI routes, limits and deadlines, and the one place where everything is wired together.

Floor 5. May import every floor below it, starlette and uvicorn. Reads start-up facts and settings once, at the top.
"""
