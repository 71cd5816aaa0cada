"""A network and all that running it needs: one ONNX file with metadata."""

import json
import os
from typing import Any, Dict, List, NamedTuple, Tuple

from cs3d_ros import Cs3dError

METADATA_KEY = 'cs3d'  # of the ONNX metadata map; its value is one JSON object
SCHEMA = 1  # newest that this version reads
KINDS = ('clip',)
INPUT_NAME = 'clip'
OUTPUT_NAME = 'probabilities'
SHIPPED_BUNDLE = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'models', 'cs3d.onnx'
)


class BundleError(Cs3dError):
    """An ONNX file that cannot serve as a bundle: missing, damaged, or contradicting itself."""


class Bundle(NamedTuple):
    """
    What the metadata of a bundle says.

    The network reads ``clip``, float32 (1, 1, clip_frames, size, size), ``(frame - 128) / 128``,
    oldest frame first, and answers ``probabilities``, float32 (1, output_count): for each class
    the probability that the face is moving *to* this expression within the clip, then, if
    ``unchanged``, that its expression does not change.

    Examples
    --------
    >>> bundle = read_bundle('cs3d_ros/models/cs3d.onnx')  # doctest: +SKIP
    >>> bundle.classes[1], bundle.clip_frames  # doctest: +SKIP
    ('happy', 16)
    """

    path: str
    schema: int
    kind: str  # 'clip'
    name: str
    classes: Tuple[str, ...]
    unchanged: bool  # one more output after the classes: no change of expression seen
    clip_frames: int
    size: int  # px, side of a frame
    period_ns: int  # sensor time that one frame covers
    step: int  # grey levels per event
    margin: float  # side of the face square over the longer side of the face box
    hop_frames: int  # frames between two runs
    state: Tuple[str, ...]  # names of state tensors, the same in and out
    training: Dict[str, Any]  # free: data, split, seed, settings
    accuracy: Dict[str, Any]  # free: measured values with their intervals

    @property
    def class_count(self) -> int:
        """Number of expressions."""
        return len(self.classes)

    @property
    def output_count(self) -> int:
        """Number of probabilities that the network answers."""
        return len(self.classes) + int(self.unchanged)

    @property
    def input_shape(self) -> Tuple[int, ...]:
        """Shape of the network's ``clip``."""
        return 1, 1, self.clip_frames, self.size, self.size


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


def open_session(path: str, threads: int, optimise: bool = True):
    """Return an ONNX Runtime session on the CPU; BundleError if the file is no ONNX model."""
    path = str(path)
    if not os.path.isfile(path):
        raise BundleError('{} is not there: is the path of the bundle right?'.format(path))
    if not os.path.getsize(path):
        raise BundleError('{} is empty: export or copy the bundle again'.format(path))
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors come as exceptions; warnings would print
    # Idle workers sleep instead of spinning: on a robot the core and its watts are wanted.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    if not optimise:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return runtime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    except runtime_errors(runtime) as error:
        raise BundleError(
            '{} does not load as an ONNX model, export or copy it again: {}'.format(
                path, first_line(error)
            )
        ) from error


def import_runtime():
    """Return the onnxruntime module; BundleError naming the cure where it is absent."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError('bundles need ONNX Runtime: pip install onnxruntime') from error
    return onnxruntime


def runtime_errors(runtime) -> Tuple[type, ...]:
    """Return the exceptions of ONNX Runtime, which share no base class of their own."""
    state = runtime.capi.onnxruntime_pybind11_state
    own = (getattr(state, name) for name in dir(state))
    return tuple(
        kind for kind in own if isinstance(kind, type) and issubclass(kind, Exception)
    ) + (RuntimeError,)


def first_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def bundle_of_session(session, path: str) -> Bundle:
    """Return the checked metadata of an open session."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise BundleError(
            "{} is an ONNX model without '{}' metadata, thus no bundle: make one with "
            'python -m training.export'.format(path, METADATA_KEY)
        )
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BundleError(
            "{}: the '{}' metadata is no JSON, export the bundle again: {}".format(
                path, METADATA_KEY, error
            )
        ) from error
    bundle = _checked(data, str(path))
    _check_shapes(bundle, session)
    return bundle


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
    if kind not in KINDS:
        raise BundleError(
            "{} is a bundle of kind '{}', and this version runs {}: upgrade "
            'cs3d_ros or take another bundle'.format(path, kind, ', '.join(KINDS))
        )
    fields = {name: _field(data, path, name, check, wanted) for name, check, wanted in _FIELDS}
    for name in ('training', 'accuracy'):
        found = data.get(name, {})  # told, not needed
        if not isinstance(found, dict):
            raise BundleError(
                "{}: metadata '{}' must be an object, got {!r}: export the bundle again".format(
                    path, name, found
                )
            )
        fields[name] = found
    if fields['state']:
        raise BundleError(
            '{}: metadata promises {} state tensor(s), and a clip bundle has none: '
            'export the bundle again'.format(path, len(fields['state']))
        )
    for name in ('classes', 'state'):
        fields[name] = tuple(fields[name])
    return Bundle(path=path, schema=schema, kind=kind, **fields)


def _whole(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_names(value):
    return (
        isinstance(value, list)
        and all(isinstance(v, str) and v for v in value)
        and len(set(value)) == len(value)
    )


_FIELDS = (
    ('name', lambda v: isinstance(v, str), 'a text'),
    ('classes', lambda v: _are_names(v) and len(v) > 1, 'a list of two or more different names'),
    ('unchanged', lambda v: isinstance(v, bool), 'true or false'),
    ('clip_frames', _whole, 'a whole number above 0'),
    ('size', _whole, 'a whole number above 0'),
    ('period_ns', _whole, 'a whole number above 0'),
    ('step', lambda v: _whole(v) and v < 128, 'a whole number from 1 to 127'),
    ('margin', lambda v: isinstance(v, (int, float)) and 0.5 <= v <= 4, 'a number from 0.5 to 4'),
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


def _check_shapes(bundle, session):
    """Compare what the metadata promises with the tensors of the network."""
    promised_in = [(INPUT_NAME, list(bundle.input_shape), 'tensor(float)')]
    promised_out = [(OUTPUT_NAME, [1, bundle.output_count], 'tensor(float)')]
    for promised, tensors, which in (
        (promised_in, session.get_inputs(), 'input'),
        (promised_out, session.get_outputs(), 'output'),
    ):
        found = [(tensor.name, list(tensor.shape), tensor.type) for tensor in tensors]
        if found != promised:
            raise BundleError(
                '{}: metadata promises {} {}, the network has {}: export the bundle again'.format(
                    bundle.path, which, _described(promised), _described(found)
                )
            )


def _described(tensors: List[Tuple]) -> str:
    return ', '.join('{} {} {}'.format(name, shape, kind) for name, shape, kind in tensors)
