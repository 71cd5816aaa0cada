"""The corpora's own words for expressions, and what the world calls them."""

from training.data.corpora.samples import MisfitError
from training.data.world import ACTED

WORDS = {
    'adfes': {
        'neutral': 'neutral',
        'joy': 'happy',
        'sadness': 'sad',
        'anger': 'angry',
        'surprise': 'surprised',
        'disgust': 'disgusted',
        'fear': 'scared',
        'contempt': 'contempt',
        'embarrass': 'embarrassed',
        'embarrassment': 'embarrassed',
        'pride': 'proud',
    },
    # Its 'repression' and 'others' have no counterpart.
    'casme2': {
        'happiness': 'happy',
        'sadness': 'sad',
        'surprise': 'surprised',
        'disgust': 'disgusted',
        'fear': 'scared',
    },
    'szu-emodage': {
        'neutral': 'neutral',
        'happiness': 'happy',
        'happy': 'happy',
        'sadness': 'sad',
        'sad': 'sad',
        'anger': 'angry',
        'angry': 'angry',
        'surprise': 'surprised',
        'surprised': 'surprised',
        'disgust': 'disgusted',
        'disgusted': 'disgusted',
        'fear': 'scared',
        'fearful': 'scared',
    },
    'crema-d': {
        'neu': 'neutral',
        'hap': 'happy',
        'sad': 'sad',
        'ang': 'angry',
        'dis': 'disgusted',
        'fea': 'scared',
    },
    # Its 'None', no emotion felt, says nothing about the face.
    'nefer': {
        'happiness': 'happy',
        'sadness': 'sad',
        'anger': 'angry',
        'surprise': 'surprised',
        'disgust': 'disgusted',
        'fear': 'scared',
        'contempt': 'contempt',
    },
    'manifest': {name: name for name in ACTED},
}


def translated(word: str, corpus: str) -> str:
    """
    Return what the world calls a corpus's own word for an expression.

    Raises
    ------
    MisfitError
        If it has no counterpart.
    """
    label = WORDS[corpus].get(word.strip().lower())
    if label is None:
        raise MisfitError(
            'label {!r} has no counterpart among {}'.format(word.strip(), ', '.join(ACTED))
        )
    return label
