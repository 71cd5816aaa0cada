"""
The network that sees faces in maps of activity, and what it learns.

It tells of every fourth cell, a *place*, how well the box that it puts around it covers a face: 0
where there is none. Boxes are told as FCOS does, by the distances to their sides (Tian et al.
2019); quality is the overlap that the box reaches, learnt with the focal loss of Li et al. 2020.
"""

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional

from cs3d_ros.face.activity import MEMORIES_S
from cs3d_ros.face.finder import INPUT, OUTPUTS, SIDES, STRIDE
from training.graph_blocks import Graph, folded, numbers

CHANNELS = 16, 24
DILATIONS = 1, 2, 4, 1  # of the last layers, which see a large face as a whole
FIRST_QUALITY, FIRST_REACH = -3.0, 1.2  # biases: few places show a face; a reach of 13 cells
LEAST_LOG, MOST_LOG = -3.0, 4.0  # of a reach in strides
# Of a box's sides: places as near to its centre as CORE tell of it, others up to RIM need not.
CORE, RIM = 0.15, 0.30
LEAST_CORE = 3.0  # cells


def _layer(inputs, outputs, kernel, stride=1, dilation=1):
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class FinderNetwork(nn.Module):
    """Quality logits (N, r, c) and reaches (N, 4, r, c) in cells, of maps (N, 2, 4 r, 4 c)."""

    def __init__(self):
        super().__init__()
        first, wide = CHANNELS
        self.stem = nn.Sequential(
            _layer(len(MEMORIES_S), first, 5, stride=2), _layer(first, wide, 3, stride=2)
        )
        self.body = nn.ModuleList(_layer(wide, wide, 3, dilation=d) for d in DILATIONS)
        self.head = nn.Conv2d(wide, 1 + SIDES, 1)
        with torch.no_grad():
            self.head.bias[0], self.head.bias[1:] = FIRST_QUALITY, FIRST_REACH

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return quality logits and reaches."""
        x = self.stem(images)
        for layer in self.body:
            x = x + layer(x)
        answer = self.head(x)
        return answer[:, 0], STRIDE * torch.exp(answer[:, 1:].clamp(LEAST_LOG, MOST_LOG))


@torch.no_grad()
def onnx_model(network: FinderNetwork) -> onnx.ModelProto:
    """Return the network for one map of any size, as ``cs3d_ros.face.finder`` runs it."""
    graph = Graph()
    graph.input(INPUT, (1, len(MEMORIES_S), 'rows', 'columns'))
    graph.now = INPUT
    for layer in network.stem:
        _add_layer(graph, layer)
    for layer in network.body:
        graph.add('Add', graph.now, _add_layer(graph, layer))
    head = network.head
    answer = graph.conv(numbers(head.weight), numbers(head.bias), kernel_shape=(1, 1))
    quality, reach = OUTPUTS
    graph.slice(0, 1, 1)
    graph.add('Sigmoid', output=graph.output(quality, (1, 1, 'r', 'c')))
    graph.now = answer
    graph.slice(1, 1 + SIDES, 1)
    limits = [graph.constant(np.float32(limit)) for limit in (LEAST_LOG, MOST_LOG)]
    graph.add('Exp', graph.add('Clip', graph.now, *limits))
    stride = graph.constant(np.float32(STRIDE))
    graph.add('Mul', graph.now, stride, output=graph.output(reach, (1, SIDES, 'r', 'c')))
    return graph.model('face_finder')


def _add_layer(graph, layer):
    conv, norm, _ = layer
    graph.conv(
        *folded(conv, norm),
        kernel_shape=conv.kernel_size,
        strides=conv.stride,
        dilations=conv.dilation,
        pads=conv.padding * 2,
    )
    return graph.add('Relu')


def places(rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (x, y) of the places in cells, each (rows, columns)."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
    return (x + 0.5) * STRIDE, (y + 0.5) * STRIDE


def overlap(reach: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """
    Return the intersection over union (N, r, c) of the boxes around places and the true ones.

    Parameters
    ----------
    reach : torch.Tensor [shape=(N, 4, r, c)]
        From the places to the left, top, right and bottom, cells.
    boxes : torch.Tensor [shape=(N, 4)]
        x, y, width, height, cells.
    """
    x, y = places(*reach.shape[2:])
    left, top, width, height = (column[:, None, None] for column in boxes.T)
    sides = torch.stack([x - left, y - top, left + width - x, top + height - y], 1)
    near = torch.minimum(reach, sides)
    shared = (near[:, 0] + near[:, 2]).clamp(0) * (near[:, 1] + near[:, 3]).clamp(0)
    found = (reach[:, 0] + reach[:, 2]) * (reach[:, 1] + reach[:, 3])
    return shared / (found + width * height - shared)


def loss(quality, reach, boxes, shown) -> torch.Tensor:
    """
    Return the loss of a batch.

    Parameters
    ----------
    quality, reach : torch.Tensor
        As the network puts them out.
    boxes : torch.Tensor [shape=(N, 4), dtype=float32]
    shown : torch.Tensor [shape=(N,), dtype=bool]
        Whether there is a face to be seen.
    """
    x, y = places(*quality.shape[1:])
    left, top, width, height = (column[:, None, None] for column in boxes.T)
    away_x, away_y = x - left - 0.5 * width, y - top - 0.5 * height

    def within(share):
        least = LEAST_CORE * share / CORE
        ratio = (away_x / (share * width).clamp(least)) ** 2
        return (ratio + (away_y / (share * height).clamp(least)) ** 2 < 1) & shown[:, None, None]

    core, rim = within(CORE), within(RIM)
    reached = overlap(reach, boxes)
    wanted = torch.where(core, reached.detach(), 0.0)
    # what is sure of itself where no face is costs most
    weight = torch.where(core, 1.0, (wanted - torch.sigmoid(quality).detach()) ** 2)
    errors = functional.binary_cross_entropy_with_logits(quality, wanted, reduction='none')
    count = core.sum().clamp(1)
    missed = -torch.log(reached[core].clamp(0.05)).sum()
    return ((errors * weight)[core | ~rim].sum() + missed) / count
