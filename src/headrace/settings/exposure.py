"""When listening would show every stream to strangers, and the refusal that says so."""

from __future__ import annotations

from ipaddress import ip_address

from headrace.errors import SettingsError
from headrace.settings.tree import Settings

MAKE_A_KEY = (
    """key="hr_$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')"; """
    """printf '[[keys]]\\nowner = "me"\\nhash = "%s"\\n' """
    """"$(printf %s "$key" | sha256sum | cut -d' ' -f1)" >> keys.toml; """
    """printf 'your key, shown once: %s\\n' "$key\""""
)
"""A shell line that makes a key, keeps its hash as `[[keys]]` in keys.toml, and shows the key once."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`: 127.0.0.0/8, ::1 or localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False  # a name: where it leads is not known here, so it counts as open


def check_exposure(settings: Settings) -> None:
    """Returns where these settings show no stream to strangers.

    Raises:
        SettingsError: the address is open to the network without keys, or keys are wanted and there are none.
    """
    host = settings.server.host
    if not settings.server.auth and not is_loopback(host):
        raise SettingsError(
            f"will not listen on {host} without keys: every stream would be readable by the network."
            " Add --auth, or stay on this machine: --host 127.0.0.1"
        )
    if settings.server.auth and not settings.keys:
        raise SettingsError(
            "--auth needs at least one key, and the settings hold none. This makes one; then add --config keys.toml:\n"
            + MAKE_A_KEY
        )
