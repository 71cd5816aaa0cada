"""What taught and what judged a network: clips, by their digests, and whose faces they show."""


def known_of(clips) -> dict:
    """Return who is seen in clips, by their digests."""
    return {clip.digest: clip.identity for clip in clips}


def counted(known: dict, split: str) -> dict:
    """Return what a report says of the clips of a split, of which known_of tells."""
    return {
        split + '_clips': len(known),
        split + '_identities': len(set(known.values())),
    }
