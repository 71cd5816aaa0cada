"""A trained network as an ONNX graph of 2-D operators that TensorRT 8.2 takes.

Written node by node: normalisation folded into the convolution before it, static shapes, time
folded into channels by reshapes, so that the graph is the same whichever version of torch made the
weights. What the blocks of networks become stands here, whole networks in ``training.graph``.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from training.models.ssn import SSN
from training.operators import OPSET
from training.views import without_idle_views

IR_VERSION = 7  # of onnx 1.8, which brought opset 13; ONNX Runtime 1.10 reads up to 8
CHANNEL_STEP = 8  # of which channels are multiples


class Graph:
    """
    Nodes and weights so far, and the tensor that runs through them.

    Attributes
    ----------
    now : str
        Name of the running tensor.
    shape : tuple of int
        What it holds: channels, frames, height, width.
    """

    def __init__(self):
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.now, self.shape = '', ()

    def input(self, name: str, dims) -> str:
        """Declare a float input."""
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
        return name

    def output(self, name: str, dims) -> str:
        """Declare a float output, which a node must be told to write."""
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
        return name

    def constant(self, array) -> str:
        """Return the name of a weight."""
        name = 'w{}'.format(len(self.weights))
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, kind: str, *inputs, output=None, **attributes) -> str:
        """Append a node on the running tensor, or on the inputs given; return its output."""
        output = output or '{}{}'.format(kind.lower(), len(self.nodes))
        self.nodes.append(
            helper.make_node(kind, list(inputs) or [self.now], [output], output, **attributes)
        )
        self.now = output
        return output

    def reshape(self, *dims) -> str:
        """View the running tensor in other dimensions."""
        return self.add('Reshape', self.now, self.constant(np.int64(dims)))

    def planes(self) -> str:
        """View the running tensor as (1, C*T, H, W)."""
        c, t, h, w = self.shape
        return self.reshape(1, c * t, h, w)

    def rows(self) -> str:
        """View the running tensor as (1, C, T, H*W), its form between layers."""
        c, t, h, w = self.shape
        return self.reshape(1, c, t, h * w)

    def tall(self) -> str:
        """View the running tensor as (1, C, T*H, W)."""
        c, t, h, w = self.shape
        return self.reshape(1, c, t * h, w)

    def slice(self, first: int, last: int, axis: int, output=None) -> str:
        """Cut [first, last) of an axis out of the running tensor."""
        bounds = [self.constant(np.int64([value])) for value in (first, last, axis)]
        return self.add('Slice', self.now, *bounds, output=output)

    def conv(self, weight, bias, **attributes) -> str:
        """Append a convolution of the running tensor."""
        inputs = [self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
        return self.add('Conv', self.now, *inputs, **attributes)

    def model(self, name: str) -> onnx.ModelProto:
        """Return the whole, checked by onnx."""
        model = helper.make_model(
            helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.weights),
            opset_imports=[helper.make_opsetid('', OPSET)],
            ir_version=IR_VERSION,
            producer_name='cs3d_ros',
        )
        model = without_idle_views(model)
        onnx.checker.check_model(model, full_check=True)
        return model


def numbers(tensor) -> np.ndarray:
    """Return the values of a torch tensor as float32."""
    return tensor.detach().float().numpy()


def folded(layer, norm):
    """Return weight and bias of a convolution or linear layer with the normalisation after it."""
    weight, bias = numbers(layer.weight), numbers(layer.bias)
    if isinstance(norm, nn.Identity):
        return weight, bias
    gain = numbers(norm.weight) / np.sqrt(numbers(norm.running_var) + norm.eps)
    shift = numbers(norm.bias) - gain * numbers(norm.running_mean)
    return weight * gain.reshape(-1, *[1] * (weight.ndim - 1)), bias * gain + shift


def add_time(graph: Graph, conv):
    """Add a depth-wise convolution over time; without padding it leaves the newest frame."""
    pad, (spacing, _) = conv.padding[0], conv.dilation
    graph.conv(
        numbers(conv.weight),
        numbers(conv.bias),
        group=conv.groups,
        kernel_shape=(3, 1),
        dilations=(spacing, 1),
        pads=(pad, 0, pad, 0),
    )


def add_space(graph: Graph, conv):
    """Add a depth-wise convolution over space, its weights repeated for every frame."""
    c, t, h, w = graph.shape
    filters, stride = conv.out_channels, conv.stride[0]
    weight, bias = numbers(conv.weight), numbers(conv.bias)
    attributes = {'kernel_shape': (3, 3), 'pads': (1, 1, 1, 1), 'strides': (stride, stride)}
    graph.shape = (filters, t, -(-h // stride), -(-w // stride))
    if filters == c:
        graph.reshape(1, c * t, h, w)
        graph.conv(np.repeat(weight, t, 0), np.repeat(bias, t), group=c * t, **attributes)
    else:  # several filters of the one channel: frames as a batch
        graph.reshape(t, 1, h, w)
        graph.conv(weight, bias, **attributes)
        if t > 1:
            graph.add('Transpose', perm=(1, 0, 2, 3))
    graph.rows()


def add_point(graph: Graph, weight, bias):
    """Add a convolution that mixes channels; it leaves frames one below the other."""
    graph.tall()
    graph.conv(weight, bias, kernel_shape=(1, 1))
    graph.shape = (weight.shape[0], *graph.shape[1:])


def add_dense(graph: Graph, weight, bias):
    """Add a convolution over channels, time and space at once."""
    c, t, h, w = graph.shape
    graph.reshape(1, c, t, h, w)
    graph.conv(weight, bias, kernel_shape=(3, 3, 3), pads=(1,) * 6)
    graph.shape = (weight.shape[0], t, h, w)
    graph.rows()


def add_pool(graph: Graph, pool):
    """
    Add max pooling over space, then over time.

    Frames of even height may lie one below the other, as the convolution before leaves them: no
    window reaches from one into the next, and ONNX Runtime needs no other layout in between.
    """
    c, t, h, w = graph.shape
    time, space, pad = pool
    if pad or h % space:
        graph.planes()
    else:
        graph.tall()
    graph.add('MaxPool', kernel_shape=(space, space), strides=(space, space), pads=(pad,) * 4)
    h, w = ((side + 2 * pad) // space for side in (h, w))
    if t % time:  # the last frames fill no window, and torch leaves them out
        graph.reshape(1, c, t, h * w)
        graph.slice(0, t // time * time, axis=2)
    if time > 1:
        graph.reshape(1, c, t // time, time * h * w)
        frames = graph.now
        parts = []
        for k in range(time):
            graph.now = frames
            parts.append(graph.slice(k * h * w, (k + 1) * h * w, axis=3))
        graph.add('Max', *parts)
        t //= time
    graph.shape = (c, t, h, w)
    graph.rows()


def add_pooled_point(graph: Graph, weight, bias, pool):
    """
    Add what mixes one channel into many, and their pooling, in the other order.

    The largest of a x + b is a times the largest x where a > 0, and a times the smallest where
    a < 0. So the one channel is pooled both ways, not each of the many.
    """
    highest = graph.now
    graph.add('Concat', highest, graph.add('Neg', highest), axis=1)
    graph.shape = (2, *graph.shape[1:])
    add_pool(graph, pool)
    add_point(graph, np.concatenate([np.maximum(weight, 0), np.maximum(-weight, 0)], 1), bias)


def threshold(activation) -> float:
    """Return the threshold of a soft spiking neuron; ReLU is one with a threshold of 0."""
    return float(activation.theta) if isinstance(activation, SSN) else 0.0


def add_activation(graph: Graph, activation):
    """Add ReLU or the soft spiking neuron."""
    if threshold(activation):
        graph.add('ThresholdedRelu', alpha=threshold(activation))
    else:
        graph.add('Relu')


def add_attention(graph: Graph, attention, memory=None):
    """
    Add Y = SA(TA(X)) + X.

    Parameters
    ----------
    memory : callable, optional
        Takes the graph whose running tensor is the average and maximum over space (1, C, T, 2),
        and puts the past before it.
    """
    c, t, h, w = graph.shape
    x = graph.now
    pooled = [graph.add(kind, x, axes=(3,), keepdims=1) for kind in ('ReduceMean', 'ReduceMax')]
    graph.add('Concat', *pooled, axis=3)
    if memory:
        memory(graph)
    squeeze, excite = attention.squeeze, attention.excite
    pad = squeeze.padding[0]
    graph.conv(
        numbers(squeeze.weight),
        numbers(squeeze.bias),
        kernel_shape=(3, 1),
        pads=(pad, 0, pad, 0),
    )
    graph.add('Relu')
    graph.conv(numbers(excite.weight), numbers(excite.bias), kernel_shape=(1, 1))
    graph.add('ReduceMax', axes=(3,), keepdims=1)
    timed = graph.add('Mul', x, graph.add('Sigmoid'))
    seen = []
    for kind in ('ReduceMean', 'ReduceMax'):
        graph.now = timed
        _reduce_channels(graph, kind)
        seen.append(graph.reshape(t, 1, h, w))
    graph.add('Concat', *seen, axis=1)
    convs = attention.place_mean, attention.place_max  # their sum is one of two channels
    weight = np.concatenate([numbers(conv.weight) for conv in convs], 1)
    graph.conv(weight, numbers(convs[0].bias), kernel_shape=(7, 7), pads=(3,) * 4)
    graph.add('Sigmoid')
    place = graph.reshape(1, 1, t, h * w)
    graph.add('Add', graph.add('Mul', timed, place), x)


def _reduce_channels(graph, kind):
    """Reduce over channels in two steps: ONNX Runtime takes a tenth of the time of one."""
    c, t, h, w = graph.shape
    graph.reshape(CHANNEL_STEP, c // CHANNEL_STEP, t * h * w)
    graph.add(kind, axes=(1,), keepdims=0)
    graph.add(kind, axes=(0,), keepdims=1)


def add_linear(graph: Graph, weight, bias):
    """Add a fully connected layer."""
    graph.add('Gemm', graph.now, graph.constant(weight), graph.constant(bias), transB=1)
