"""When listening would show every stream to strangers, and the refusal that says so."""

from __future__ import annotations

from ipaddress import ip_address

from headrace.errors import SettingsError
from headrace.settings.tree import Settings


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`: 127.0.0.0/8, ::1 or localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False  # a name: where it leads is not known here, so it counts as open


def check_exposure(settings: Settings, keys_kept: int = 0) -> None:
    """Returns where these settings show no stream to strangers. `keys_kept`: how many keys `headrace keys` keeps.

    Raises:
        SettingsError: the address is open to the network without keys, or keys are wanted and there are none.
    """
    host = settings.server.host
    if not settings.server.auth and not is_loopback(host):
        raise SettingsError(
            f"will not listen on {host} without keys: every stream would be readable by the network."
            " Add --auth, or stay on this machine: --host 127.0.0.1"
        )
    if settings.server.auth and not settings.keys and not keys_kept:
        raise SettingsError("--auth needs at least one key, and there is none. Make one: headrace keys create me")
