"""Gets a model's config from the local Hugging Face cache, or from the hub."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from freezeplan.outside.quiet import quiet
from freezeplan.outside.regular import read_regular

# One name, or owner/name, as the hub allows them.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
ADVICE = (
    "download the model once where there is a network, or name a local folder as `source`, "
    "or say what it is with `architecture` (a model type or a config.json), which is enough for `show`"
)

UNREACHABLE = "the hub cannot be reached"
CONNECT_SECONDS = 5
MAX_REF = 4096


class HubProblem(Exception):
    """Say in plain words why the hub gave no config."""


def is_hub_id(source: str) -> bool:
    """Tell whether a source can be the name of a model on the hub."""
    return HUB_ID.fullmatch(source) is not None and len(source) <= 200


def cached_config(repo: str, revision: str | None) -> Path | None:
    """Return the config.json of a hub model in the local cache, None when it is not there.

    Reads the layout that ``huggingface_hub.try_to_load_from_cache`` reads, without importing that package:
    https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    folder = _repo_folder(repo)
    commit = _commit(folder, revision or "main")
    try:
        known = commit in os.listdir(folder / "snapshots")
    except OSError:
        return None
    path = folder / "snapshots" / commit / "config.json"
    absent = folder / ".no_exist" / commit / "config.json"
    return path if known and os.path.isfile(path) and not os.path.isfile(absent) else None


def _repo_folder(repo: str) -> Path:
    return _cache_folder() / ("models--" + repo.replace("/", "--"))


def _commit(folder: Path, revision: str) -> str:
    """Return what a branch or tag stands for, a commit itself as it is."""
    try:
        return read_regular(folder / "refs" / revision, MAX_REF).decode("utf-8")
    except (OSError, ValueError):
        return revision


def _cache_folder() -> Path:
    """Return the hub's cache folder: what the package has set when it is loaded, else what it would."""
    loaded = sys.modules.get("huggingface_hub.constants")
    if loaded is not None:
        return Path(loaded.HF_HUB_CACHE)
    environment = os.environ
    home = environment.get("HF_HOME") or os.path.join(
        environment.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"), "huggingface"
    )
    named = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(os.path.expanduser(named or os.path.join(home, "hub"))))


def fetched_config(repo: str, revision: str | None) -> Path:
    """Download the config.json of a hub model into the cache and return its path.

    Raises :class:`HubProblem` when the hub cannot be reached or refuses.
    """
    path = fetched_file(repo, "config.json", revision)
    if path is None:
        raise HubProblem("the model has no config.json")
    return path


def fetched_file(repo: str, name: str, revision: str | None) -> Path | None:
    """Return the path of one file of a hub model in the cache, downloaded where it is not there yet.

    None when the model has no such file. What is in the cache is used when the hub cannot be reached. Raises
    :class:`HubProblem` when the hub is needed, and cannot be reached or refuses.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if constants.HF_HUB_OFFLINE or not _reachable(constants.ENDPOINT):
        cached = try_to_load_from_cache(repo, name, revision=revision)
        if cached is None:
            raise HubProblem(UNREACHABLE)
        return Path(cached) if isinstance(cached, str) else None
    try:
        with quiet():
            return Path(hf_hub_download(repo, name, revision=revision))
    except LocalEntryNotFoundError:
        raise HubProblem(UNREACHABLE) from None
    except EntryNotFoundError:
        return None
    except Exception as error:
        raise HubProblem(_reason(error)) from None


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Let the block use the local caches only when the hub cannot be reached.

    The hub's client would try each request again for half a minute.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or _reachable(constants.ENDPOINT):
        yield
        return
    modules: list[Any] = [constants, *filter(None, [sys.modules.get("datasets.config")])]
    before = [module.HF_HUB_OFFLINE for module in modules]
    for module in modules:
        module.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


def _reason(error: Exception) -> str:
    name = type(error).__name__
    known = {
        "RepositoryNotFoundError": "the hub knows no such model, or it is private",
        "GatedRepoError": "the model is gated: accept its terms on the hub and log in",
        "RevisionNotFoundError": "the model has no such revision",
    }
    return known.get(name, UNREACHABLE)


def _reachable(endpoint: str) -> bool:
    """Try one connection, because the hub's own client tries again for half a minute."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    url = urlsplit(endpoint)
    if getproxies() or not url.hostname:
        return True
    try:
        socket.create_connection((url.hostname, url.port or 443), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
