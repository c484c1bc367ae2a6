"""Gets a model's config from the local Hugging Face cache, or from the hub."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from freezeplan.inventory.silence import quiet

# One name, or owner/name, as the hub allows them.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
ADVICE = (
    "download the model once where there is a network, or name a local folder as `source`, "
    "or say what it is with `architecture` (a model type or a config.json), which is enough for `show`"
)

UNREACHABLE = "the hub cannot be reached"
CONNECT_SECONDS = 5


class HubProblem(Exception):
    """Say in plain words why the hub gave no config."""


def is_hub_id(source: str) -> bool:
    """Tell whether a source can be the name of a model on the hub."""
    return HUB_ID.fullmatch(source) is not None and len(source) <= 200


def cached_config(repo: str, revision: str | None) -> Path | None:
    """Return the config.json of a hub model in the local cache, None when it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, "config.json", revision=revision)
    return Path(found) if isinstance(found, str) else None


def fetched_config(repo: str, revision: str | None) -> Path:
    """Download the config.json of a hub model into the cache and return its path.

    Raises :class:`HubProblem` when the hub cannot be reached or refuses.
    """
    from huggingface_hub import constants, hf_hub_download

    if not constants.HF_HUB_OFFLINE and not _reachable(constants.ENDPOINT):
        raise HubProblem(UNREACHABLE)
    try:
        with quiet():
            return Path(hf_hub_download(repo, "config.json", revision=revision))
    except Exception as error:
        raise HubProblem(_reason(error)) from None


def _reason(error: Exception) -> str:
    name = type(error).__name__
    known = {
        "RepositoryNotFoundError": "the hub knows no such model, or it is private",
        "GatedRepoError": "the model is gated: accept its terms on the hub and log in",
        "RevisionNotFoundError": "the model has no such revision",
        "RemoteEntryNotFoundError": "the model has no config.json",
        "EntryNotFoundError": "the model has no config.json",
    }
    return known.get(name, UNREACHABLE)


def _reachable(endpoint: str) -> bool:
    """Try one connection, because the hub's own client tries again for half a minute."""
    url = urlsplit(endpoint)
    if getproxies() or not url.hostname:
        return True
    try:
        socket.create_connection((url.hostname, url.port or 443), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
