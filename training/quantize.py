"""From a float graph to an int8 one: QDQ form, calibrated on frames of validation identities.

Scales are symmetric (zero points 0), as TensorRT asks for, weights have one per channel. What is
cheap or delicate stays float: what has few channels, the gated cell, the answer. On CPUs int8 pays
for clips; a stream's single frames are faster in float.
"""

import copy
import tempfile
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

CALIBRATION_RUNS = 128  # of the network
FEW_CHANNELS = 8  # fewer are not worth the change of number and of layout


class _Feeds(CalibrationDataReader):
    """Inputs of a model, one run after the other; a stream's memory goes on through a sequence."""

    def __init__(self, model: onnx.ModelProto, sequences, runs: int):
        self._feeds = iter(_feeds_of(model, sequences, runs))

    def get_next(self):
        return next(self._feeds, None)


def _feeds_of(model, sequences, runs):
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
        for clip in clips[:: max(1, len(clips) // runs)][:runs]:
            yield {INPUT_NAMES['clip']: scaled(clip)[None, None]}
        return
    session = InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    states = [name for name in shapes if name != INPUT_NAMES['stream']]
    length = max(1, runs // len(sequences))
    for frames in sequences:
        state = {name: np.zeros(shapes[name], np.float32) for name in states}
        for k, frame in enumerate(frames):
            feed = {INPUT_NAMES['stream']: scaled(frame)[None, None], **state}
            if k % max(1, len(frames) // length) == 0:
                yield feed
            state = dict(zip(states, session.run([NEXT + name for name in states], feed)))


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
        Runs of the network on them, about.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'int8.onnx'
        quantize_static(
            copy.deepcopy(model),  # it is changed on the way
            path,
            _Feeds(model, sequences, runs),
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
