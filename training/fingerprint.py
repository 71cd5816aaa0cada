"""What tells clips, sets of them, and cuts from others: digests of what is known of each."""

import json
from hashlib import sha256
from pathlib import Path

from training.data.clips import ClipSet


def digest(known) -> str:
    """Return 12 hex digits of what is known, in JSON's types: of a clip, its entry."""
    return sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]


def fingerprint(folder: str | Path) -> str:
    """Return 12 hex digits of what is known of a set's clips; DataError if it is none."""
    return digest(ClipSet(folder).entries)
