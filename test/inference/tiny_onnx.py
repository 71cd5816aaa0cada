"""Bundles of a few hundred bytes, written without the onnx package (it is not on every Python).

The clip network: logits = mean(clip) * gain + bias, then softmax. The stream network: memory =
memory * keep + mean(frame), logits = memory * gain + bias, then softmax.
"""

import json

import numpy as np

FLOAT, INT8, FLOAT16 = 1, 3, 10  # of TensorProto
CLIP_SHAPE = (1, 1, 16, 112, 112)
CLASSES = ['neutral', 'happy', 'surprised', 'angry', 'disgusted', 'sad', 'scared']
METADATA = {
    'schema': 1,
    'kind': 'clip',
    'name': 'tiny',
    'classes': CLASSES,
    'unchanged': True,
    'clip_frames': 16,
    'size': 112,
    'period_ns': 33_333_333,
    'step': 32,
    'margin': 1.15,
    'hop_frames': 2,
    'state': [],
    'training': {'data': 'none'},
    'accuracy': {},
}
STREAM_METADATA = dict(
    METADATA,
    schema=2,
    kind='stream',
    unchanged=False,
    clip_frames=1,
    hop_frames=1,
    state=['memory'],
)


def write_tiny_stream(
    path,
    outputs=7,
    metadata=STREAM_METADATA,
    keep=0.5,
    gain=None,
    memory_shape=(1, 1),
    memory_out='next_memory',
):
    """Write a bundle of kind 'stream' and return its path."""
    mean = _attribute('axes', ints=(2, 3)) + _attribute('keepdims', i=0)
    nodes = (
        _node('ReduceMean', ['frame'], ['mean'], mean)
        + _node('Mul', ['memory', 'keep'], ['kept'])
        + _node('Add', ['kept', 'mean'], [memory_out])
        + _classifier(memory_out)
    )
    weights = {
        'keep': [keep],
        'gain': np.arange(outputs) if gain is None else gain,
        'bias': np.zeros(outputs),
    }
    inputs = [('frame', (1, 1, 112, 112)), ('memory', memory_shape)]
    answers = [('probabilities', (1, outputs)), (memory_out, memory_shape)]
    return _write(path, nodes, weights, inputs, answers, metadata)


def write_tiny_bundle(
    path, outputs=8, clip_shape=CLIP_SHAPE, metadata=METADATA, gain=None, bias=None, narrow=''
):
    """
    Write a bundle and return its path; metadata may be a dict, a text, or None for none.

    The mean goes through int8 or fp16 if that is what ``narrow`` says.
    """
    gain = np.arange(outputs) if gain is None else gain
    bias = np.zeros(outputs) if bias is None else bias
    nodes = _node(
        'ReduceMean',
        ['clip'],
        ['mean'],
        _attribute('axes', ints=(2, 3, 4)) + _attribute('keepdims', i=0),
    )
    nodes += _NARROWING[narrow] + _classifier('narrow' if narrow else 'mean')
    weights = {'gain': gain, 'bias': bias}
    if narrow == 'int8':
        weights.update(scale=[1 / 127], zero=np.zeros(1, np.int8))
    answers = [('probabilities', (1, outputs))]
    return _write(path, nodes, weights, [('clip', clip_shape)], answers, metadata)


def _classifier(features):
    return (
        _node('Mul', [features, 'gain'], ['scaled'])
        + _node('Add', ['scaled', 'bias'], ['logits'])
        + _node('Softmax', ['logits'], ['probabilities'], _attribute('axis', i=1))
    )


def _write(path, nodes, weights, inputs, outputs, metadata):
    graph = nodes + _field(2, b'tiny')
    graph += b''.join(_field(5, _tensor(name, values)) for name, values in weights.items())
    graph += b''.join(_field(11, _value_info(name, shape)) for name, shape in inputs)
    graph += b''.join(_field(12, _value_info(name, shape)) for name, shape in outputs)
    model = _field(1, 7) + _field(8, _field(1, b'') + _field(2, 13)) + _field(7, graph)
    if metadata is not None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        model += _field(14, _field(1, b'cs3d') + _field(2, text.encode()))
    with open(str(path), 'wb') as file:
        file.write(model)
    return str(path)


# Protocol buffers by hand; field numbers from onnx.proto (onnx 1.11).


def _varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number, value):
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _attribute(name, i=None, ints=()):
    body = _field(1, name.encode())
    if i is None:
        body += b''.join(_field(8, value) for value in ints) + _field(20, 7)
    else:
        body += _field(3, i) + _field(20, 2)
    return _field(5, body)


def _node(kind, inputs, outputs, attributes=b''):
    return _field(
        1,
        b''.join(_field(1, name.encode()) for name in inputs)
        + b''.join(_field(2, name.encode()) for name in outputs)
        + _field(4, kind.encode())
        + attributes,
    )


def _tensor(name, values):
    kind = INT8 if getattr(values, 'dtype', None) == np.int8 else FLOAT
    values = np.asarray(values, np.int8 if kind == INT8 else np.float32)
    return (
        _field(1, len(values))
        + _field(2, kind)
        + _field(8, name.encode())
        + _field(9, values.tobytes())
    )


def _value_info(name, shape):
    dims = b''.join(
        _field(1, _field(2, size.encode()) if isinstance(size, str) else _field(1, size))
        for size in shape
    )
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, FLOAT) + _field(2, dims)))


_NARROWING = {
    '': b'',
    'int8': _node('QuantizeLinear', ['mean', 'scale', 'zero'], ['quantised'])
    + _node('DequantizeLinear', ['quantised', 'scale', 'zero'], ['narrow']),
    'fp16': _node('Cast', ['mean'], ['half'], _attribute('to', i=FLOAT16))
    + _node('Cast', ['half'], ['narrow'], _attribute('to', i=FLOAT)),
}
