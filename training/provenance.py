"""What taught and what judged a network: clips, by their digests, and whose faces they show."""

from collections import Counter

from training.fingerprint import digest

RENDERED = 'rendered'  # source of the clips of training.synthesize; others are names of corpora


def known_of(clips) -> dict:
    """Return the identity and the source of clips, by their digests."""
    return {clip.digest: (clip.identity, clip.source) for clip in clips}


def counted(known: dict, split: str) -> dict:
    """Return what a report says of the clips of a split, of which known_of tells."""
    return {
        split + '_clips': len(known),
        split + '_identities': len({identity for identity, _ in known.values()}),
        split + '_sources': dict(Counter(source for _, source in known.values())),
        split + '_digest': digest(sorted(known)),
    }


def learnt_sources(report: dict) -> dict:
    """
    Return clips by source of all that a network learnt from, also before it was begun with.

    Reports of older versions tell no sources; they add none.
    """
    began_with = report.get('began_with') or {}
    found = Counter(report.get('train_sources', {}))
    return dict(found + Counter(began_with.get('train_sources', {})))


def is_rendered(sources: dict) -> bool:
    """Tell whether there are rendered clips only, as far as is known."""
    return set(sources) <= {RENDERED}


def listed(sources: dict) -> str:
    """Return clips by source in words: ``adfes (7), rendered (2800)``."""
    return ', '.join('{} ({})'.format(name, sources[name]) for name in sorted(sources))
