"""Each network that becomes a bundle as a whole ONNX graph, see ``training.graph_blocks``."""

from functools import singledispatch

import numpy as np
import onnx
import torch
from torch import nn

from cs3d_ros import Cs3dError
from cs3d_ros.inference.bundle import INPUT_NAMES, NEXT, OUTPUT_NAME
from training.graph_blocks import (
    Graph,
    add_activation,
    add_attention,
    add_dense,
    add_linear,
    add_point,
    add_pool,
    add_pooled_point,
    add_space,
    add_time,
    folded,
    numbers,
    threshold,
)
from training.models import C3D, CS3D, CS3DStream
from training.models.c3d import Pool
from training.models.cs3d import RATE_FLOOR, Block, MaxPool, PointConv, SpaceConv, TimeConv
from training.models.ssn import SSN
from training.models.stream import HALF_ACTIVITY, CausalAttention


class ExportError(Cs3dError):
    """A network that does not become the bundle that it should."""


@singledispatch
def onnx_model(network, temperature: float = 1.0) -> onnx.ModelProto:
    """
    Return the ONNX model of a network, with the inputs and outputs of a bundle.

    Parameters
    ----------
    network : C3D, CS3D or CS3DStream
    temperature : float
        Logits are divided by it before the softmax; folded into the last layer.

    Raises
    ------
    ExportError
        If it is another network.
    """
    raise ExportError(
        'no graph is known for a network {!r}: c3d, cs3d and stream become bundles'.format(
            getattr(network, 'name', type(network).__name__)
        )
    )


@onnx_model.register(C3D)
@onnx_model.register(CS3D)
@torch.no_grad()
def _clip_model(network, temperature=1.0):
    s, graph = network.settings, Graph()
    graph.shape = (1, s.frames, s.size, s.size)
    graph.now = graph.input(INPUT_NAMES['clip'], (1, *graph.shape))
    if getattr(s, 'rate_norm', False):
        _add_rate_norm(graph)
    graph.rows()
    for layer in network.features:
        if isinstance(layer, nn.Conv3d):
            add_dense(graph, numbers(layer.weight), numbers(layer.bias))
        elif isinstance(layer, nn.MaxPool3d):
            add_pool(graph, Pool(layer.kernel_size[0], layer.kernel_size[1], layer.padding[1]))
        elif isinstance(layer, nn.ReLU):
            add_activation(graph, layer)
        elif isinstance(layer, Block):
            _add_block(graph, layer)
        else:
            add_attention(graph, layer)
    if isinstance(network.head[0], nn.AdaptiveAvgPool3d):
        graph.add('ReduceMean', axes=(2, 3), keepdims=0)
    else:
        graph.reshape(1, int(np.prod(graph.shape)))
    *hidden, last = (layer for layer in network.head if not isinstance(layer, nn.Dropout))
    for layer, after in zip(hidden, [*hidden[1:], last]):
        if isinstance(layer, nn.Linear):
            norm = after if isinstance(after, nn.BatchNorm1d) else nn.Identity()
            add_linear(graph, *folded(layer, norm))
        elif isinstance(layer, (nn.ReLU, SSN)):
            add_activation(graph, layer)
    output = graph.output(OUTPUT_NAME, (1, last.out_features))
    _add_answer(graph, last, temperature, output)
    return graph.model(network.name)


def _add_rate_norm(graph):
    clip = graph.now
    rate = graph.add('ReduceMean', graph.add('Abs', clip), axes=(1, 2, 3, 4), keepdims=1)
    floor = graph.constant(np.float32([RATE_FLOOR]))
    graph.add('Div', clip, graph.add('Add', rate, floor))


def _add_answer(graph, layer, temperature, output):
    divisor = np.float32(temperature)
    add_linear(graph, numbers(layer.weight) / divisor, numbers(layer.bias) / divisor)
    graph.add('Softmax', axis=1, output=output)


def _add_block(graph, block):
    before, pool = graph.now, block.pool.pool if isinstance(block.pool, MaxPool) else None
    if isinstance(block.conv, nn.Conv3d):
        add_dense(graph, *folded(block.conv, block.norm))
    else:
        for conv in block.conv:
            if isinstance(conv, TimeConv):
                add_time(graph, conv)
            elif isinstance(conv, SpaceConv):
                add_space(graph, conv)
            elif isinstance(conv, PointConv):
                pool = _add_point(graph, conv, block.norm, pool)
    _finish(graph, before if block.residual else None, pool, block.activation)


def _add_point(graph, conv, norm, pool):
    """Add the convolution that mixes channels; return the pooling that is left to do."""
    weight, bias = folded(conv, norm)
    if pool and conv.in_channels == 1:
        add_pooled_point(graph, weight, bias, pool)
        return None
    add_point(graph, weight, bias)
    return pool


def _finish(graph, before, pool, activation):
    """Add residual, pooling and activation to a block."""
    if before:
        after, graph.now = graph.now, before
        graph.add('Add', after, graph.tall())
    if not threshold(activation):
        add_activation(graph, activation)  # right behind a convolution, which takes it along
    if pool:
        add_pool(graph, pool)
    graph.rows()
    if threshold(activation):
        add_activation(graph, activation)  # on fewer values


@onnx_model.register(CS3DStream)
@torch.no_grad()
def _stream_model(network, temperature=1.0):
    s, graph = network.settings, Graph()
    graph.shape = (1, 1, s.size, s.size)
    frame = graph.now = graph.input(INPUT_NAMES['stream'], graph.shape)
    names = network.state_names
    shapes = {n: tuple(past.shape) for n, past in zip(names, network.initial_state())}
    for name in names:
        graph.input(name, shapes[name])

    def remember(name):
        """Return what puts a past before the running tensor, and gives the next one out."""

        def put_before(graph):
            graph.add('Concat', name, graph.now, axis=2)
            rows, frames = graph.now, shapes[name][2]
            graph.slice(1, frames + 1, axis=2, output=NEXT + name)
            graph.now = rows

        return put_before

    graph.output(OUTPUT_NAME, (1, s.outputs))
    for name in names:
        graph.output(NEXT + name, shapes[name])
    graph.rows()
    for name, layer in network.layers.items():
        if isinstance(layer, CausalAttention):
            add_attention(graph, layer, remember(name))
        else:
            _add_stream_block(graph, layer, remember(name))
    graph.add('ReduceMean', axes=(2, 3), keepdims=0)
    if network.cell:
        _add_cell(graph, network.cell, frame, names[-1])
    _add_answer(graph, network.answer, temperature, OUTPUT_NAME)
    return graph.model(network.name)


def _add_stream_block(graph, block, remember):
    before = graph.now
    pool = block.pool.pool if isinstance(block.pool, MaxPool) else None
    if block.first:
        add_space(graph, block.space)
    remember(graph)
    add_time(graph, block.time)
    if not block.first:
        add_space(graph, block.space)
    pool = _add_point(graph, block.point, block.norm, pool)
    _finish(graph, before if block.residual else None, pool, block.activation)


def _add_cell(graph, cell, frame, held):
    """Add the gated cell, which moves as far as there are events in the frame."""
    add_linear(graph, numbers(cell.seen.weight), numbers(cell.seen.bias))
    graph.add('Gemm', held, graph.constant(numbers(cell.held.weight)), graph.now, transB=1)
    both, width = graph.now, cell.held.in_features
    graph.slice(0, width, axis=1)
    gate = graph.add('Sigmoid')
    graph.now = both
    graph.slice(width, 2 * width, axis=1)
    away = graph.add('Sub', graph.add('Tanh'), held)
    energy = graph.add('ReduceMean', graph.add('Abs', frame), axes=(2, 3), keepdims=0)
    half = graph.constant(np.float32([HALF_ACTIVITY]))
    activity = graph.add('Div', energy, graph.add('Add', energy, half))
    step = graph.add('Mul', graph.add('Mul', activity, gate), away)
    graph.add('Add', held, step, output=NEXT + held)
