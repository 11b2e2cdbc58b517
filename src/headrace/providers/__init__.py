"""Where events come from: one file for each language an upstream speaks, and the table that names them.

Floor 3. May import floors 0 to 2, and httptools, asyncio and ssl where a connection is owned (`http.py` alone). Knows
no reader, no run and no protocol. A service that speaks a language already known is a row in `catalogue.py`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from headrace.clock import Clock
from headrace.interfaces import Provider
from headrace.providers.ollama import open_ollama
from headrace.providers.openai import open_openai
from headrace.settings import UpstreamSettings

Opener = Callable[[UpstreamSettings, str | None, Clock], Provider]
"""Makes the provider of one upstream of its settings, its key and a clock; opens no connection yet."""

PROVIDERS: Mapping[str, Opener] = MappingProxyType({"openai": open_openai, "ollama": open_ollama})
"""What `provider` may be in the settings. `offline` needs documents rather than a connection and is always there."""

__all__ = ["PROVIDERS", "Opener"]
