"""
What event cameras send, byte by byte, to events and back: EVT2, EVT2.1, EVT3, libcaer, mono.

A decoder keeps the state of one stream (wraps of its clock, the row an event shares with others),
so a payload may begin wherever the last one ended.

Sources: Prophesee's documentation of EVT 2.0, 2.1 and 3.0; for `libcaer`, `libcaer_cmp` and `mono`
the drivers and codecs of ros-event-camera, whose recordings the tests decode.
"""

from typing import NamedTuple, Union

import numpy as np

from cs3d_ros.events import _codecs, _words
from cs3d_ros.events.batch import NO_TIME, EventBatch, check_size, empty_columns

NOWHERE = 0xFFFF  # as in _codecs.pxd
EVT3_SIDE = 1 << 11  # px: coordinates have 11 bits
CLOCK_RESET_NS = 1_000_000_000  # a payload this far back is of a new clock, not jitter
EVT3_TURN_NS = (1 << 24) * 1000  # after which the 24 bits of the clock, in us, begin anew

Bytes = Union[bytes, bytearray, memoryview, np.ndarray]


class CodecCounts(NamedTuple):
    """What a decoder has seen since it was made."""

    events: int = 0  # handed on
    out_of_bounds: int = 0  # events dropped: outside the sensor
    time_reversed: int = 0  # events dropped: older than their predecessor
    triggers: int = 0  # edges of external signals, skipped
    unknown: int = 0  # words skipped: no known kind, or before time and place were told
    clock_resets: int = 0  # times the stream began anew


class Codec:
    """
    Decoder of one stream of payloads; times never decrease from one to the next.

    Attributes
    ----------
    word_size : int
        Bytes of a word; payloads are whole words.
    field_size : int
        Bytes of its fields, which a byte order applies to.
    """

    word_size = field_size = 0
    tells_time = True  # with every event, rather than now and then

    def __init__(self, width: int, height: int):
        check_size(width, height)
        self.width, self.height = int(width), int(height)
        self._events, self._clock_resets = 0, -1
        self._state = np.zeros(_codecs.STATE_SIZE, np.int64)
        self.reset()

    def reset(self) -> None:
        """Forget the stream, but not the counts: the next payload begins another one."""
        self._clock_resets += 1
        self._state[: _codecs.OUTSIDE] = 0
        self._state[_codecs.IS_TIMED] = 2 if self.tells_time else 0
        self._state[_codecs.LAST_NS] = NO_TIME
        self.lost()

    def lost(self) -> None:
        """Forget what is stale because payloads in between were lost; the clock goes on."""
        self._state[_codecs.ROW_AT] = self._state[_codecs.BASE_AT] = NOWHERE

    @property
    def counts(self) -> CodecCounts:
        """What was seen so far."""
        dropped = self._state[_codecs.OUTSIDE : _codecs.STRANGE + 1].tolist()
        return CodecCounts(self._events, *(dropped + [self._clock_resets]))

    @property
    def last_ns(self) -> int:
        """Time of the newest event; ``NO_TIME`` before the first one."""
        return int(self._state[_codecs.LAST_NS])

    def push(self, payload: Bytes, time_base_ns: int = 0) -> EventBatch:
        """
        Return the events of the next payload.

        Parameters
        ----------
        payload : bytes-like or np.ndarray [dtype=uint8]
            Whole words, little-endian.
        time_base_ns : int
            What the times of this payload count from, where the encoding has such a thing.

        Raises
        ------
        ValueError
            If the payload ends within a word.
        """
        raw = np.frombuffer(payload, np.uint8)
        if len(raw) % self.word_size:
            raise ValueError(
                'the payload ends within a word of {} bytes: {} bytes'.format(
                    self.word_size, len(raw)
                )
            )
        words = raw.view('<u{}'.format(self.word_size))
        if not words.flags.aligned:
            words = words.copy()
        limit = self._count(words) + _codecs.SLACK
        x, y, t, p = empty_columns(limit)
        before = self._state.copy()
        kept = self._decode(words, time_base_ns, x, y, t, p)
        if not kept and self._state[_codecs.BACKWARDS] > before[_codecs.BACKWARDS]:
            kept = self._decode_as_new(words, time_base_ns, before, x, y, t, p)
        self._events += kept
        return EventBatch.trusted(x[:kept], y[:kept], t[:kept], p[:kept], self.width, self.height)

    def _decode_as_new(self, words, time_base_ns, before, x, y, t, p) -> int:
        """Take a payload of nothing but old events as that of a new clock, if it is far back."""
        after = self._state.copy()
        self._state[:] = before
        self._state[_codecs.LAST_NS] = NO_TIME
        kept = self._decode(words, time_base_ns, x, y, t, p)
        if t[0] < before[_codecs.LAST_NS] - CLOCK_RESET_NS:
            self._clock_resets += 1
            return kept
        self._state[:] = after
        return 0

    def follow_turns(self, batch: EventBatch, expected_ns: int) -> EventBatch:
        """
        Return the events of the last payload with the turns of a clock that loss has hidden.

        Parameters
        ----------
        batch : EventBatch
            What the last `push` returned.
        expected_ns : int
            About when its first event should be.
        """
        return batch

    def _count(self, words: np.ndarray) -> int:
        """Return how many events the words tell at most."""
        return len(words)

    def _decode(self, words, time_base_ns, x, y, t, p) -> int:
        """Fill the columns; return how many events were kept."""
        raise NotImplementedError


class _WordCodec(Codec):
    """Streams of 16-bit words whose top four bits tell what they mean."""

    word_size = field_size = 2
    tells_time = False
    ROLES = {}
    has_fill = turns = False

    def __init__(self, width, height):
        super().__init__(width, height)
        self._roles = np.full(16, _words.UNKNOWN, np.uint8)
        for kind, role in self.ROLES.items():
            self._roles[kind] = role
        kinds = {role: kind for kind, role in self.ROLES.items()}
        self._kinds = [
            kinds[role] for role in (_words.SINGLE, _words.ROW, _words.LOW, _words.HIGH)
        ]
        self._vectors = kinds[_words.VECTOR_12], kinds[_words.VECTOR_8]

    def _count(self, words):
        return _words.count_in_words(words, self._kinds[0], *self._vectors)

    def _decode_words(self, words, limits, start_ns, own, row, t, p):
        return _words.decode_words(
            words,
            self._roles,
            *self._kinds,
            self.has_fill,
            self.turns,
            *limits,
            start_ns,
            self._state,
            own,
            row,
            t,
            p,
        )


class Evt3Codec(_WordCodec):
    """EVT 3.0, times in us; the 24 bits of its clock are followed as they turn."""

    ROLES = {
        0: _words.ROW,
        2: _words.SINGLE,
        3: _words.BASE,
        4: _words.VECTOR_12,
        5: _words.VECTOR_8,
        6: _words.LOW,
        7: _words.FILL,
        8: _words.HIGH,
        10: _words.TRIGGER,
        14: _words.FILL,
        15: _words.FILL,
    }
    has_fill = turns = True

    def _decode(self, words, time_base_ns, x, y, t, p):
        return self._decode_words(words, (self.width, self.height), 0, x, y, t, p)

    def follow_turns(self, batch, expected_ns):
        turns = max(0, round((expected_ns - int(batch.t[0])) / EVT3_TURN_NS))
        if not turns:
            return batch
        self._state[_codecs.EPOCH_US] += turns * (EVT3_TURN_NS // 1000)
        self._state[_codecs.LAST_NS] += turns * EVT3_TURN_NS
        return EventBatch.trusted(
            batch.x, batch.y, batch.t + turns * EVT3_TURN_NS, batch.p, self.width, self.height
        )


class LibcaerCmpCodec(_WordCodec):
    """`libcaer_cmp`: as EVT3 with x and y exchanged; the times of each payload begin anew."""

    ROLES = {
        0: _words.HIGH,
        1: _words.LOW,
        2: _words.ROW,
        3: _words.SINGLE,
        4: _words.BASE,
        5: _words.VECTOR_8,
        6: _words.VECTOR_12,
    }

    def _decode(self, words, time_base_ns, x, y, t, p):
        # The encoder tells no bits that are zero as the payload begins.
        self._state[_codecs.HIGH_BITS] = self._state[_codecs.LOW_BITS] = 0
        self._state[_codecs.IS_TIMED] = 2
        return self._decode_words(words, (self.height, self.width), time_base_ns, y, x, t, p)


class Evt2Codec(Codec):
    """EVT 2.0: 32-bit words, one event each, times in us."""

    word_size = field_size = 4
    tells_time = False

    def _decode(self, words, time_base_ns, x, y, t, p):
        return _codecs.decode_evt2(words, self.width, self.height, self._state, x, y, t, p)


class Evt21Codec(Codec):
    """EVT 2.1: 64-bit words, up to 32 events of a row each, times in us."""

    word_size = field_size = 8
    tells_time = False
    halves_swapped = False

    def _count(self, words):
        shifts = (28, 32) if self.halves_swapped else (60, 0)
        return _codecs.count_in_evt21(words, *shifts)

    def _decode(self, words, time_base_ns, x, y, t, p):
        return _codecs.decode_evt21(
            words, self.halves_swapped, self.width, self.height, self._state, x, y, t, p
        )


class Evt21LegacyCodec(Evt21Codec):
    """EVT 2.1 of sensors (IMX636) that send the upper 32 bits of a word first."""

    halves_swapped = True


class LibcaerCodec(Codec):
    """`libcaer`: 64-bit words, one event each, times in us from the payload's time base."""

    word_size = 8
    field_size = 4  # the event, and its time

    def _decode(self, words, time_base_ns, x, y, t, p):
        return _codecs.decode_libcaer(
            words, time_base_ns, self.width, self.height, self._state, x, y, t, p
        )


class MonoCodec(Codec):
    """`mono`: 64-bit words, one event each, times in ns from the payload's time base."""

    word_size = field_size = 8

    def _decode(self, words, time_base_ns, x, y, t, p):
        return _codecs.decode_mono(
            words, time_base_ns, self.width, self.height, self._state, x, y, t, p
        )


CODECS = {
    'evt2': Evt2Codec,
    'evt21': Evt21Codec,
    'evt21_legacy': Evt21LegacyCodec,
    'evt3': Evt3Codec,
    'libcaer': LibcaerCodec,
    'libcaer_cmp': LibcaerCmpCodec,
    'mono': MonoCodec,
}


def open_codec(encoding: str, width: int, height: int) -> Codec:
    """
    Return a decoder for one stream.

    Raises
    ------
    ValueError
        If the encoding is none of ``CODECS``, or the sensor has an impossible size.

    Examples
    --------
    >>> codec = open_codec('evt3', 346, 260)
    >>> len(codec.push(b''))
    0
    """
    if encoding not in CODECS:
        raise ValueError(
            'unknown encoding {!r}: known are {}'.format(encoding, ', '.join(sorted(CODECS)))
        )
    return CODECS[encoding](width, height)


def encode_evt3(batch: EventBatch) -> bytes:
    """
    Return a batch as EVT3 words that need no word before them.

    Times are told in whole us, modulo 2^24 (16.8 s); a decoder that follows the stream finds them
    again as long as no more than that lies between two events.

    Raises
    ------
    ValueError
        If the sensor is larger than the 2,048 columns and rows that EVT3 can tell.
    """
    if batch.width > EVT3_SIDE or batch.height > EVT3_SIDE:
        raise ValueError(
            'EVT3 tells coordinates below {}, the sensor is {} x {}'.format(
                EVT3_SIDE, batch.width, batch.height
            )
        )
    words = np.empty(4 * len(batch), '<u2')
    used = _words.encode_evt3(batch.x, batch.y, batch.t, batch.p, words)
    return words[:used].tobytes()
