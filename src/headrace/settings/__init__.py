"""The choices a person can make: one frozen tree, and how it is made of flags, variables and files.

    flag > HEADRACE_* variable > .env > ./headrace.toml > the user's file > default

Floor 2: imports the vocabulary; opens no file and reads no environment. Whoever reads them (`headrace.cli.environment`)
hands over what they say as data, so that everything here is a function of its arguments.

- `tree.py`       the settings themselves, field by field
- `variables.py`  what each setting is called in the environment and as a flag
- `reading.py`    one file or one environment as settings, with words for what is wrong
- `resolving.py`  all of them together, the higher one first, and where each value came from
- `trust.py`      what a file that merely lies in the working directory may not decide until it is trusted
- `listing.py`    every setting with its value, one by one
- `exposure.py`   when listening would show every stream to strangers
- `suggestions.py` the name somebody probably meant
"""

from headrace.settings.exposure import check_exposure
from headrace.settings.resolving import Document, Resolved, resolve
from headrace.settings.suggestions import did_you_mean
from headrace.settings.tree import (
    AssistantSettings,
    DocumentSettings,
    KeySettings,
    LoggingSettings,
    ModelSettings,
    Prefill,
    ServerSettings,
    Settings,
    StoreSettings,
    UpstreamSettings,
)

__all__ = [
    "AssistantSettings",
    "Document",
    "DocumentSettings",
    "KeySettings",
    "LoggingSettings",
    "ModelSettings",
    "Prefill",
    "Resolved",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "UpstreamSettings",
    "check_exposure",
    "did_you_mean",
    "resolve",
]
