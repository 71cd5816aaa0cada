"""A trained network as an ONNX graph of 2-D operators that TensorRT 8.2 takes.

Written node by node: normalisation folded into the convolution before it, static shapes, time
folded into channels by reshapes, no transposes, so that the graph is the same whichever version of
torch made the weights. Between layers a tensor is (1, C, T, H*W).
"""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from cs3d_ros.inference.bundle import INPUT_NAME, OUTPUT_NAME
from training.models.cs3d import (
    CS3D,
    SSN,
    Attention,
    Block,
    PointConv,
    SpaceConv,
    TimeConv,
)

OPSET = 13  # newest that TensorRT 8.2 reads
IR_VERSION = 7  # of onnx 1.8, which brought opset 13; ONNX Runtime 1.10 reads up to 8


class _Graph:
    """Nodes and weights so far, and the shape (C, T, H, W) of the running tensor."""

    def __init__(self, frames, size):
        self.nodes, self.weights = [], []
        self.now = INPUT_NAME
        self.shape = (1, frames, size, size)

    def constant(self, array):
        name = 'w{}'.format(len(self.weights))
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, kind, *inputs, output=None, **attributes):
        """Append a node on the running tensor, or on the inputs given; return its output."""
        output = output or '{}{}'.format(kind.lower(), len(self.nodes))
        self.nodes.append(
            helper.make_node(kind, list(inputs) or [self.now], [output], **attributes)
        )
        self.now = output
        return output

    def reshape(self, *shape, of=None):
        return self.add('Reshape', of or self.now, self.constant(np.int64(shape)))

    def as_planes(self):
        """View the running tensor as (1, C*T, H, W)."""
        c, t, h, w = self.shape
        self.reshape(1, c * t, h, w)

    def as_rows(self):
        """View the running tensor as (1, C, T, H*W), its form between layers."""
        c, t, h, w = self.shape
        self.reshape(1, c, t, h * w)

    def conv(self, weight, bias, **attributes):
        inputs = [self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
        return self.add('Conv', self.now, *inputs, **attributes)


def _numbers(tensor):
    return tensor.detach().float().numpy()


def _folded(conv, norm):
    """Return weight and bias of a convolution with the normalisation after it."""
    weight, bias = _numbers(conv.weight), _numbers(conv.bias)
    if isinstance(norm, nn.Identity):
        return weight, bias
    gain = _numbers(norm.weight) / np.sqrt(_numbers(norm.running_var) + norm.eps)
    shift = _numbers(norm.bias) - gain * _numbers(norm.running_mean)
    return weight * gain.reshape(-1, *[1] * (weight.ndim - 1)), bias * gain + shift


def _time(graph, conv):
    graph.conv(
        _numbers(conv.weight),
        _numbers(conv.bias),
        group=conv.groups,
        kernel_shape=(3, 1),
        pads=(1, 0, 1, 0),
    )


def _space(graph, conv):
    """Add a depth-wise space convolution, its weights repeated for every frame."""
    c, t, h, w = graph.shape
    graph.as_planes()
    if conv.out_channels > c:  # each filter reads its own copy of the one channel
        graph.add('Concat', *[graph.now] * conv.out_channels, axis=1)
    c, stride = conv.out_channels, conv.stride[0]
    graph.conv(
        np.repeat(_numbers(conv.weight), t, 0),
        np.repeat(_numbers(conv.bias), t),
        group=c * t,
        kernel_shape=(3, 3),
        pads=(1, 1, 1, 1),
        strides=(stride, stride),
    )
    graph.shape = (c, t, -(-h // stride), -(-w // stride))
    graph.as_rows()


def _point(graph, weight, bias):
    graph.conv(weight, bias, kernel_shape=(1, 1))
    graph.shape = (weight.shape[0], *graph.shape[1:])


def _dense(graph, weight, bias):
    c, t, h, w = graph.shape
    graph.reshape(1, c, t, h, w)
    graph.conv(weight, bias, kernel_shape=(3, 3, 3), pads=(1,) * 6)
    graph.shape = (weight.shape[0], t, h, w)
    graph.as_rows()


def _block(graph, block):
    before = graph.now
    if isinstance(block.conv, nn.Conv3d):
        _dense(graph, *_folded(block.conv, block.norm))
    else:
        for conv in block.conv:
            if isinstance(conv, TimeConv):
                _time(graph, conv)
            elif isinstance(conv, SpaceConv):
                _space(graph, conv)
            elif isinstance(conv, PointConv):
                _point(graph, *_folded(conv, block.norm))
    if block.residual:
        graph.add('Add', graph.now, before)
    if not isinstance(block.pool, nn.Identity):
        _pool(graph, block.pool.pool)
    _activate(graph, block.activation)


def _pool(graph, pool):
    c, t, h, w = graph.shape
    graph.as_planes()
    pad = pool.padding
    graph.add(
        'MaxPool', kernel_shape=(pool.space,) * 2, strides=(pool.space,) * 2, pads=(pad,) * 4
    )
    graph.shape = (c, t, (h + 2 * pad) // pool.space, (w + 2 * pad) // pool.space)
    graph.as_rows()
    if pool.time > 1:
        graph.add('MaxPool', kernel_shape=(pool.time, 1), strides=(pool.time, 1))
        graph.shape = (c, t // pool.time, *graph.shape[2:])


def _activate(graph, activation):
    if isinstance(activation, SSN):
        graph.add('ThresholdedRelu', alpha=float(activation.theta))
    else:
        graph.add('Relu')


def _attention(graph, attention):
    _, t, h, w = graph.shape
    x = graph.now
    answers = []
    for reduce in ('ReduceMean', 'ReduceMax'):
        graph.add(reduce, x, axes=(3,), keepdims=1)
        squeeze, excite = attention.squeeze, attention.excite
        graph.conv(
            _numbers(squeeze.weight),
            _numbers(squeeze.bias),
            kernel_shape=(3, 1),
            pads=(1, 0, 1, 0),
        )
        graph.add('Relu')
        answers.append(
            graph.conv(_numbers(excite.weight), _numbers(excite.bias), kernel_shape=(1, 1))
        )
    weight = graph.add('Sigmoid', graph.add('Max', *answers))
    timed = graph.add('Mul', x, weight)
    answers = []
    for reduce, conv in (('ReduceMean', attention.place_mean), ('ReduceMax', attention.place_max)):
        graph.add(reduce, timed, axes=(1,), keepdims=1)
        graph.reshape(t, 1, h, w)
        bias = None if conv.bias is None else _numbers(conv.bias)
        answers.append(graph.conv(_numbers(conv.weight), bias, kernel_shape=(7, 7), pads=(3,) * 4))
    graph.add('Sigmoid', graph.add('Add', *answers))
    place = graph.reshape(1, 1, t, h * w)
    graph.add('Add', graph.add('Mul', timed, place), x)


def _head(graph, head, temperature):
    if isinstance(head[0], nn.AdaptiveAvgPool3d):
        graph.add('ReduceMean', axes=(2, 3), keepdims=0)
    else:
        graph.reshape(1, int(np.prod(graph.shape)))
    last = [layer for layer in head if isinstance(layer, nn.Linear)][-1]
    for layer in head:
        if isinstance(layer, nn.Linear):
            scale = temperature if layer is last else 1.0
            graph.add(
                'Gemm',
                graph.now,
                graph.constant(_numbers(layer.weight) / scale),
                graph.constant(_numbers(layer.bias) / scale),
                transB=1,
            )
        elif isinstance(layer, (SSN, nn.ReLU)):
            _activate(graph, layer)
    graph.add('Softmax', axis=1, output=OUTPUT_NAME)


def onnx_model(network: CS3D, temperature: float = 1.0) -> onnx.ModelProto:
    """
    Return the ONNX model of a network: clip (1, 1, T, H, W) to probabilities (1, outputs).

    Parameters
    ----------
    network : CS3D
    temperature : float
        Logits are divided by it before the softmax; folded into the last layer.
    """
    settings = network.settings
    graph = _Graph(settings.frames, settings.size)
    with torch.no_grad():
        graph.as_rows()
        for layer in network.features:
            if isinstance(layer, Block):
                _block(graph, layer)
            elif isinstance(layer, Attention):
                _attention(graph, layer)
        _head(graph, network.head, np.float32(temperature))
    clip = helper.make_tensor_value_info(
        INPUT_NAME, TensorProto.FLOAT, (1, 1, settings.frames, settings.size, settings.size)
    )
    answer = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, (1, settings.outputs))
    model = helper.make_model(
        helper.make_graph(graph.nodes, 'cs3d', [clip], [answer], graph.weights),
        opset_imports=[helper.make_opsetid('', OPSET)],
        ir_version=IR_VERSION,
        producer_name='cs3d_ros',
    )
    onnx.checker.check_model(model, full_check=True)
    return model
