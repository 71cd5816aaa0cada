"""From a float graph to an int8 one: QDQ form, calibrated on frames of validation identities.

Scales are symmetric (zero points 0), as TensorRT asks for, weights have one per channel. What is
cheap or delicate stays float: what has few channels, the gated cell, the answer. On CPUs int8 pays
for clips; a stream's single frames are faster in float.
"""

import copy
import tempfile
from itertools import count
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import InferenceSession
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from cs3d_ros.inference.bundle import INPUT_NAMES, NEXT
from cs3d_ros.inference.estimator import scaled
from training.graph import ExportError

CALIBRATION_RUNS = 128  # of the network
FEW_CHANNELS = 8  # fewer are not worth the change of number and of layout


class _Feeds(CalibrationDataReader):
    """Inputs of a model, one run after the other."""

    def __init__(self, feeds):
        self._feeds = iter(feeds)

    def get_next(self):
        return next(self._feeds, None)


def feeds_of(model: onnx.ModelProto, sequences, runs: int):
    """
    Yield the inputs to calibrate a model on, at most ``runs``, picked evenly from all sequences.

    A stream's memory goes on through a sequence, also over the frames that are not picked.
    """
    shapes = {
        tensor.name: tuple(d.dim_value for d in tensor.type.tensor_type.shape.dim)
        for tensor in model.graph.input
    }
    if INPUT_NAMES['clip'] in shapes:
        length = shapes[INPUT_NAMES['clip']][2]
        clips = [
            frames[end - length : end]
            for frames in sequences
            for end in range(length, len(frames) + 1, length // 2)
        ]
        for k in _picked(len(clips), runs, sequences, length):
            yield {INPUT_NAMES['clip']: scaled(clips[k])[None, None]}
        return
    session = InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    states = [name for name in shapes if name != INPUT_NAMES['stream']]
    picked = set(_picked(sum(map(len, sequences)), runs, sequences, length=1))
    numbers = count()
    for frames in sequences:
        state = {name: np.zeros(shapes[name], np.float32) for name in states}
        for frame in frames:
            feed = {INPUT_NAMES['stream']: scaled(frame)[None, None], **state}
            if next(numbers) in picked:
                yield feed
            state = dict(zip(states, session.run([NEXT + name for name in states], feed)))


def _picked(total, runs, sequences, length):
    """Return the numbers of the inputs that are taken, of so many in all."""
    if not total:
        raise ExportError(
            'int8 is calibrated on sequences of {} or more frames, the longest of {} has {}: give '
            'longer ones, or export without --int8'.format(
                length, len(sequences), max(map(len, sequences), default=0)
            )
        )
    number = min(total, runs)
    return [k * total // number for k in range(number)]


def quantized(model: onnx.ModelProto, sequences, runs: int = CALIBRATION_RUNS) -> onnx.ModelProto:
    """
    Return a model whose large convolutions and poolings compute in int8.

    Parameters
    ----------
    model : onnx.ModelProto
        As ``training.graph.onnx_model`` returns it.
    sequences : list of np.ndarray [shape=(T, size, size), dtype=uint8]
        Event frames to calibrate on.
    runs : int
        Runs of the network on them, spread evenly over all, or fewer if there are no more.

    Raises
    ------
    ExportError
        If no sequence is long enough to run the network on.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'int8.onnx'
        quantize_static(
            copy.deepcopy(model),  # it is changed on the way
            path,
            _Feeds(feeds_of(model, sequences, runs)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=nodes_worth_it(model),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={'ActivationSymmetric': True, 'WeightSymmetric': True},
        )
        return onnx.load(path)


def nodes_worth_it(model: onnx.ModelProto) -> list[str]:
    """Return the names of poolings, and of convolutions of enough channels."""
    weights = {weight.name: weight.dims for weight in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type == 'Conv':
            out, per_group = weights[node.input[1]][:2]
            groups = sum(a.i for a in node.attribute if a.name == 'group') or 1
            if min(out, per_group * groups) >= FEW_CHANNELS:
                found.append(node.name)
        elif node.op_type == 'MaxPool':
            found.append(node.name)
    return found
