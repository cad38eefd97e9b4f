"""The licence that a base model's own card states; what it does not state is left to the user."""

from __future__ import annotations

import yaml
from huggingface_hub import ModelCard

FIELDS = ("license", "license_name", "license_link")
WEB = ("https://", "http://")


def read_licence(readme: str) -> dict[str, str]:
    """The licence fields of a card's front matter; {} where it has none or cannot be read.

    A link to a file beside the card is left out: not every export carries that file along.
    """
    if not readme.lstrip("\ufeff").startswith("---"):
        return {}
    try:
        stated = ModelCard(readme, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, TypeError, yaml.YAMLError):  # another tool's front matter, damaged
        return {}
    texts = {name: stated[name] for name in FIELDS if isinstance(stated.get(name), str)}
    if not texts.get("license_link", WEB[0]).startswith(WEB):
        del texts["license_link"]
    return texts if "license" in texts else {}
