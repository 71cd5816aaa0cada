"""A network and all that running it needs: one ONNX file with metadata."""

import json
import os
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

from cs3d_ros.inference.emotion import NEUTRAL, EmotionSettings
from cs3d_ros.runtime import BundleError, open_session

METADATA_KEY = 'cs3d'  # of the ONNX metadata map; its value is one JSON object
SCHEMA = 2  # newest that this version reads; 1 had no streams, no settling, nothing unproven
INPUT_NAMES = {'clip': 'clip', 'stream': 'frame'}  # by kind
OUTPUT_NAME = 'probabilities'
NEXT = 'next_'  # before the name of a state tensor, on its way out
SHORTEST_PERIOD_NS, LONGEST_PERIOD_NS = 1_000_000, 1_000_000_000  # trained at 33_333_333
SHIPPED_BUNDLE = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'models', 'cs3d.onnx'
)


class Operator(NamedTuple):
    """What one operator of a network computes and moves, without views, which cost nothing."""

    kind: str  # as ONNX names it
    macs: int  # multiply-adds
    values: int  # read and written, weights included


class Bundle(NamedTuple):
    """
    What the metadata of a bundle says.

    A network of kind ``clip`` reads ``clip``, float32 (1, 1, clip_frames, size, size),
    ``(frame - 128) / 128``, oldest frame first. One of kind ``stream`` reads ``frame``, float32
    (1, 1, size, size), and its memory, one float32 tensor for each name in ``state``, zeros at
    first; it gives the memory back as ``next_`` and the name.

    Both answer ``probabilities``, float32 (1, output_count). If ``unchanged``, they tell for each
    class the probability that the face is moving *to* this expression, then that its expression
    does not change; else, for each class, that the face *wears* this expression now.

    Examples
    --------
    >>> bundle = read_bundle('cs3d_ros/models/cs3d.onnx')  # doctest: +SKIP
    >>> bundle.classes[1], bundle.clip_frames  # doctest: +SKIP
    ('happy', 16)
    """

    path: str
    schema: int
    kind: str  # 'clip' or 'stream'
    name: str
    classes: Tuple[str, ...]
    unchanged: bool  # one more output after the classes: no change of expression seen
    clip_frames: int  # that one run reads; 1 of a stream
    size: int  # px, side of a frame
    period_ns: int  # sensor time that one frame covers
    step: int  # grey levels per event
    margin: float  # side of the face square over the longer side of the face box
    hop_frames: int  # frames between two runs; 1 of a stream
    state: Tuple[str, ...]  # names of the state tensors
    training: Dict[str, Any]  # free: data, split, seed, settings
    accuracy: Dict[str, Any]  # free: measured values with their intervals
    settling: EmotionSettings = EmotionSettings()  # fitted on validation sequences
    unproven: Tuple[str, ...] = ()  # classes not shown to be recognised on real people
    operators: Tuple[Operator, ...] = ()  # in the order of the graph; none if not counted
    state_shapes: Tuple[Tuple[int, ...], ...] = ()  # of the network itself

    @property
    def class_count(self) -> int:
        """Number of expressions."""
        return len(self.classes)

    @property
    def output_count(self) -> int:
        """Number of probabilities that the network answers."""
        return len(self.classes) + int(self.unchanged)

    @property
    def input_name(self) -> str:
        """Name of the tensor that takes the frames."""
        return INPUT_NAMES[self.kind]

    @property
    def input_shape(self) -> Tuple[int, ...]:
        """Shape of the tensor that takes the frames."""
        frames = (self.clip_frames,) if self.kind == 'clip' else ()
        return (1, 1) + frames + (self.size, self.size)

    def initial_state(self) -> Tuple[np.ndarray, ...]:
        """Return the memory of a network that has seen nothing: zeros, float32."""
        return tuple(np.zeros(shape, np.float32) for shape in self.state_shapes)


def read_bundle(path: str) -> Bundle:
    """
    Return the checked metadata of a bundle.

    Raises
    ------
    BundleError
        If the file is missing, is no ONNX model, or its metadata is absent, incomplete, newer
        than this program, or contradicts itself or the shapes of the network.
    """
    return bundle_of_session(open_session(path, threads=1, optimise=False), path)


def bundle_of_session(session, path: str) -> Bundle:
    """Return the checked metadata of an open session."""
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        inputs, outputs = (
            [(tensor.name, list(tensor.shape), tensor.type) for tensor in tensors]
            for tensors in (session.get_inputs(), session.get_outputs())
        )
    except UnicodeDecodeError as error:
        raise BundleError(
            '{} is damaged, a text in it is no UTF-8: export or copy it again'.format(path)
        ) from error
    if text is None:
        raise BundleError(
            "{} is an ONNX model without '{}' metadata, thus no bundle: make one with "
            'python -m training.export'.format(path, METADATA_KEY)
        )
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:  # of brackets inside one another
        raise BundleError(
            "{}: the '{}' metadata is no JSON that can be read, export the bundle again: "
            '{}'.format(path, METADATA_KEY, error)
        ) from error
    bundle = _checked(data, str(path))
    return bundle._replace(state_shapes=_checked_shapes(bundle, inputs, outputs))


def _checked(data, path):
    """Return the Bundle of a metadata object, every field of the right type and range."""
    if not isinstance(data, dict):
        raise BundleError(
            '{}: metadata must be a JSON object, got {}'.format(path, type(data).__name__)
        )
    schema = _field(data, path, 'schema', _whole, 'a whole number')
    if schema > SCHEMA:
        raise BundleError(
            '{} is of schema {}, and this version reads up to {}: upgrade cs3d_ros'.format(
                path, schema, SCHEMA
            )
        )
    kind = _field(data, path, 'kind', lambda v: isinstance(v, str), 'a text')
    if kind not in INPUT_NAMES:
        raise BundleError(
            "{} is a bundle of kind '{}', and this version runs {}: upgrade "
            'cs3d_ros or take another bundle'.format(path, kind, ', '.join(INPUT_NAMES))
        )
    fields = {name: _field(data, path, name, check, wanted) for name, check, wanted in _FIELDS}
    for name in ('training', 'accuracy', 'settling'):
        fields[name] = _optional(data, path, name, {}, lambda v: isinstance(v, dict), 'an object')
    fields['unproven'] = _optional(
        data,
        path,
        'unproven',
        [],
        lambda v: _are_names(v) and set(v) <= set(fields['classes']) - {NEUTRAL},
        'a list of classes, neutral not among them',
    )
    fields['settling'] = _settling(fields['settling'], path)
    fields['operators'] = _optional(
        data, path, 'operators', [], _are_operators, 'a list of kind, multiply-adds and values'
    )
    _check_kind(kind, fields, path)
    for name in ('classes', 'state', 'unproven'):
        fields[name] = tuple(fields[name])
    fields['operators'] = tuple(Operator(*row) for row in fields['operators'])
    return Bundle(path=path, schema=schema, kind=kind, **fields)


def _check_kind(kind, fields, path):
    """Refuse a clip with memory or gaps, and a stream without memory or of more than a frame."""
    if kind == 'clip' and fields['state']:
        raise BundleError(
            '{}: metadata promises {} state tensor(s), and a clip bundle has none: '
            'export the bundle again'.format(path, len(fields['state']))
        )
    if kind == 'clip' and fields['hop_frames'] > fields['clip_frames']:
        raise BundleError(
            '{}: metadata leaves frames out: hop_frames {} is more than clip_frames {}: export '
            'the bundle again'.format(path, fields['hop_frames'], fields['clip_frames'])
        )
    if kind == 'stream' and not (
        fields['state'] and fields['clip_frames'] == fields['hop_frames'] == 1
    ):
        raise BundleError(
            '{}: a stream bundle reads one frame at a time (clip_frames 1, hop_frames 1) and has '
            'state tensors, got clip_frames {}, hop_frames {} and {} state tensors: export the '
            'bundle again'.format(
                path, fields['clip_frames'], fields['hop_frames'], len(fields['state'])
            )
        )


def _settling(given, path):
    """Return the EmotionSettings of a metadata object; what it does not name has its default."""
    defaults = EmotionSettings()
    for name, value in given.items():
        default = getattr(defaults, name, None) if name in EmotionSettings._fields else None
        fits = isinstance(value, bool) == isinstance(default, bool)
        if default is None or not fits or not isinstance(value, (int, float)):
            raise BundleError(
                "{}: metadata 'settling' must hold fields of EmotionSettings, got {!r}: {!r}: "
                'upgrade cs3d_ros or export the bundle again'.format(path, name, value)
            )
    settings = defaults._replace(**given)
    try:
        settings.check()
    except ValueError as error:
        raise BundleError(
            "{}: metadata 'settling' is out of range, export the bundle again: {}".format(
                path, error
            )
        ) from error
    return settings


def _whole(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_names(value):
    return (
        isinstance(value, list)
        and all(isinstance(v, str) and v for v in value)
        and len(set(value)) == len(value)
    )


def _are_operators(value):
    return isinstance(value, list) and all(
        isinstance(row, list)
        and len(row) == 3
        and isinstance(row[0], str)
        and all(type(count) is int and count >= 0 for count in row[1:])
        for row in value
    )


_FIELDS = (
    ('name', lambda v: isinstance(v, str), 'a text'),
    (
        'classes',
        lambda v: _are_names(v) and len(v) > 1 and NEUTRAL in v,
        'a list of two or more different names, {} among them'.format(NEUTRAL),
    ),
    ('unchanged', lambda v: isinstance(v, bool), 'true or false'),
    ('clip_frames', _whole, 'a whole number above 0'),
    ('size', _whole, 'a whole number above 0'),
    (
        'period_ns',
        lambda v: _whole(v) and SHORTEST_PERIOD_NS <= v <= LONGEST_PERIOD_NS,
        'a whole number from {} to {} (1 ms to 1 s)'.format(SHORTEST_PERIOD_NS, LONGEST_PERIOD_NS),
    ),
    ('step', lambda v: _whole(v) and v < 128, 'a whole number from 1 to 127'),
    ('margin', lambda v: type(v) in (int, float) and 0.5 <= v <= 4, 'a number from 0.5 to 4'),
    ('hop_frames', _whole, 'a whole number above 0'),
    ('state', _are_names, 'a list of different names'),
)


def _field(data, path, name, check, wanted):
    if name not in data:
        raise BundleError(
            "{}: metadata lacks '{}' ({}): export the bundle again".format(path, name, wanted)
        )
    if not check(data[name]):
        raise BundleError(
            "{}: metadata '{}' must be {}, got {!r}: export the bundle again".format(
                path, name, wanted, data[name]
            )
        )
    return data[name]


def _optional(data, path, name, default, check, wanted):
    return _field(data, path, name, check, wanted) if name in data else default


def _checked_shapes(bundle, inputs, outputs):
    """Return the shapes of the state tensors, once the network is what the metadata promises."""
    # the network alone knows the shape of its memory, which must come out as it goes in
    shapes = {name: shape for name, shape, _ in inputs}
    shapes = [shapes.get(name, []) for name in bundle.state]
    states = list(zip(bundle.state, shapes))
    promised_in = [(bundle.input_name, list(bundle.input_shape))] + states
    promised_out = [(OUTPUT_NAME, [1, bundle.output_count])]
    promised_out += [(NEXT + name, shape) for name, shape in states]
    for promised, found, which in (
        (promised_in, inputs, 'input'),
        (promised_out, outputs, 'output'),
    ):
        promised = [(name, shape, 'tensor(float)') for name, shape in promised]
        if found != promised or not all(_whole(side) for shape in shapes for side in shape):
            raise BundleError(
                '{}: metadata promises {} {} of fixed shape, the network has {}: export the '
                'bundle again'.format(bundle.path, which, _described(promised), _described(found))
            )
    return tuple(tuple(shape) for shape in shapes)


def _described(tensors: List[Tuple]) -> str:
    return ', '.join('{} {} {}'.format(name, shape, kind) for name, shape, kind in tensors)
