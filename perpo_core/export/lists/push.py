"""A finished folder to the Hugging Face Hub, where somebody asks for it.

The token comes from the environment and goes nowhere but into the request; what the Hub answers is
shown without it. A new repository is private: making it public is for whoever knows the licences.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2  # what huggingface_hub speaks HTTP with
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

TOKEN_VARIABLE = "HF_TOKEN"


def check_push(repo: str) -> str:
    """The token; raises ValueError where there is none, or the name is no repository's."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ValueError(f"--push {repo!r} is no name of a repository: {error}") from error
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise ValueError(
            f"--push needs a token that may write to {repo}: set {TOKEN_VARIABLE} in the "
            "environment (https://huggingface.co/settings/tokens)"
        )
    return token


def push_folder(folder: Path, repo: str, token: str) -> str:
    """Where the data set is now; raises ValueError, one sentence, where the Hub did not take it."""
    api = HfApi(token=token)
    try:
        with _online():
            url = api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
            api.upload_folder(
                repo_id=url.repo_id, repo_type="dataset", folder_path=folder,
                commit_message="Ranked lists exported by perpo",
            )  # fmt: skip
    except (httpx2.HTTPError, OSError) as error:
        said = " ".join(str(error).split()).replace(token, "***")
        raise ValueError(
            f"{folder} is complete but {repo} did not take it: {said}; give `hf upload {repo} "
            f"{folder} --repo-type dataset` when that is mended"
        ) from error
    return str(url)


@contextmanager
def _online() -> Iterator[None]:
    """HF_HUB_OFFLINE is the default of every command here; this one was asked to go out."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
