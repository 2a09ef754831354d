"""A model on the Hugging Face hub, asked for once; without the hub, the local cache serves."""

import os
from functools import cache
from typing import Any

from ropediag.errors import ModelError

SECONDS = 5.0  # that the hub has for its answer


@cache
def find_on_hub(source: str, revision: str | None) -> dict[str, Any]:
    """Find a model by its hub id, asking the hub once and without retries.

    Parameters
    ----------
    source : hub id, such as ``org/name``
    revision : branch, tag or commit; None for the main branch

    Returns
    -------
    ``revision`` and ``local_files_only`` for transformers' loaders: the commit on the hub, or what the local
    cache has where the hub cannot be reached

    Raises
    ------
    ModelError
        If the hub has no such model or does not hand it out, or cannot be reached and the cache has no copy.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        commit = HfApi().model_info(source, revision=revision, timeout=SECONDS).sha
        return {"revision": commit, "local_files_only": False}
    except RevisionNotFoundError as error:
        raise ModelError(f"cannot load {source}: it has no revision {revision} on the hub.") from error
    except GatedRepoError as error:
        raise ModelError(
            f"cannot load {source}: it is handed out on request only. Ask for it on its page on the hub, "
            "then hf auth login."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"cannot load {source}: no such folder, and no such model on the hub, or a private one (hf auth "
            "login)."
        ) from error
    except Exception as error:  # of the hub, of httpx or of the system: there was no answer
        if _is_cached(source, revision):
            return {"revision": revision, "local_files_only": True}
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"cannot load {source}: no such folder; as a hub id it is not in the local cache, and the hub "
            f"gives no answer: {reason}"
        ) from error


def _is_cached(source: str, revision: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source, "config.json", revision=revision)
    return isinstance(found, str | os.PathLike)
