"""
How far the roofline of ``cs3d bench`` is from what machines take: measured here, published there.

    python -m benchmarks.roofline             one thread, its CPU time
    python -m benchmarks.roofline THREADS     several, wall time: on a machine with nothing to do

Here: our networks at several widths, random weights, in turns; the quickest run counts, as it does
of the peaks, so that what else the machine does matters less. Elsewhere: image networks whose
times on Jetsons others have published, counted layer by layer as our exporter counts bundles.
"""

import importlib.util
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import machine
from cs3d_ros.inference import SHIPPED_BUNDLE, read_bundle
from cs3d_ros.inference.bundle import Operator
from cs3d_ros.inference.machines import MACHINES
from cs3d_ros.inference.peaks import measure_here
from cs3d_ros.inference.roofline import counted_operators, predict

ROUNDS = 25
PROBE_EVERY = 5  # rounds
NETWORKS = (  # title, name, settings
    ('C3D', 'c3d', {}),
    ('CS3D, pooled head', 'cs3d', {'head': 'gap'}),
    ('CS3D, pooled head, own stem', 'cs3d', {'head': 'gap', 'stem_filters': 8, 'stem_stride': 2}),
    ('CS3D-Stream, a frame', 'stream', {}),
)
WIDTHS = (0.25, 0.5, 1.0)

SHIPPED = (SHIPPED_BUNDLE, SHIPPED_BUNDLE.replace('cs3d.onnx', 'cs3d_stream.onnx'))
NANO, AGX_XAVIER = MACHINES['nano'], MACHINES['agx-xavier']
# Capability 5.3 computes halves twice as fast as floats.
NANO_FP32 = NANO._replace(title=NANO.title + ', fp32', flops=NANO.flops / 2, value_bytes=4)
# Milliseconds of TensorRT, fp16 but where told, one picture of 224 x 224. Sources: torch2trt of
# NVIDIA-AI-IOT, docs/benchmarks/jetson_nano.md and jetson_xavier.md, column Latency (TensorRT);
# the fp32 row: issue 10 of snap-research/EfficientFormer, trtexec, whose default is fp32.
PUBLISHED = (
    (NANO, 'resnet18', 11.4),
    (NANO, 'resnet50', 29.8),
    (NANO, 'vgg16', 85.1),
    (NANO_FP32, 'mobilenet_v2', 27.2),
    (AGX_XAVIER, 'resnet18', 1.64),
    (AGX_XAVIER, 'resnet50', 3.37),
    (AGX_XAVIER, 'vgg16', 7.46),
    (AGX_XAVIER, 'mobilenet_v2', 1.67),
)


class Layers:
    """Operators of an image network, counted as `training.stamp` counts those of a graph."""

    def __init__(self, channels: int = 3, side: int = 224):
        self.channels, self.side = channels, side
        self.operators = []

    @property
    def size(self) -> int:
        """Values of the running tensor."""
        return self.channels * self.side**2

    def conv(self, out: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True):
        """Add a convolution that keeps borders, and an activation."""
        read, weights = self.size, out * (self.channels // groups * kernel**2 + 1)
        products = self.channels // groups * kernel**2
        self.channels, self.side = out, -(-self.side // stride)
        self._add('Conv', self.size * products, read + weights)
        if relu:
            self._add('Relu', 0, self.size)

    def pool(self, stride: int):
        """Add a pooling."""
        read = self.size
        self.side = -(-self.side // stride)
        self._add('MaxPool', 0, read)

    def residual(self, relu: bool = True):
        """Add a sum with what came before, and an activation."""
        self._add('Add', 0, 2 * self.size)
        if relu:
            self._add('Relu', 0, self.size)

    def linear(self, out: int):
        """Add a fully connected layer."""
        read, macs = self.size * (1 + out) + out, self.size * out
        self.channels, self.side = out, 1
        self._add('Gemm', macs, read)

    def mean(self):
        """Add the mean over space."""
        read, self.side = self.size, 1
        self._add('ReduceMean', 0, read)

    def _add(self, kind, macs, read):
        self.operators.append(Operator(kind, macs, read + self.size))


def resnet(depths, is_bottleneck: bool) -> Layers:
    """Return a residual network (He and others, CVPR 2016)."""
    net = Layers()
    net.conv(64, 7, 2)
    net.pool(2)
    for width, depth in zip((64, 128, 256, 512), depths):
        for block in range(depth):
            stride = 2 if width > 64 and not block else 1
            out = 4 * width if is_bottleneck else width
            if net.channels != out:  # the shortcut's own convolution
                beside = Layers(net.channels, net.side)
                beside.conv(out, 1, stride, relu=False)
                net.operators += beside.operators
            if is_bottleneck:
                net.conv(width, 1)
            net.conv(width, 3, stride)
            net.conv(out, 1 if is_bottleneck else 3, relu=False)
            net.residual()
    net.mean()
    net.linear(1000)
    return net


def vgg16() -> Layers:
    """Return VGG-16 (Simonyan and Zisserman, ICLR 2015)."""
    net = Layers()
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            net.conv(width, 3)
        net.pool(2)
    for out in (4096, 4096, 1000):
        net.linear(out)
    return net


def mobilenet_v2() -> Layers:
    """Return MobileNetV2 (Sandler and others, CVPR 2018), whose middle layers are depth-wise."""
    net = Layers()
    net.conv(32, 3, 2)
    for factor, out, depth, first in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for block in range(depth):
            stride, before = 1 if block else first, net.channels
            if factor > 1:
                net.conv(factor * before, 1)
            net.conv(factor * before, 3, stride, groups=factor * before)
            net.conv(out, 1, relu=False)
            if stride == 1 and before == out:
                net.residual(relu=False)
    net.conv(1280, 1)
    net.mean()
    net.linear(1000)
    return net


IMAGE_NETWORKS = {
    'resnet18': resnet((2, 2, 2, 2), False),
    'resnet50': resnet((3, 4, 6, 3), True),
    'vgg16': vgg16(),
    'mobilenet_v2': mobilenet_v2(),
}
# What their authors and torchvision state, in G multiply-adds.
STATED_GMAC = {'resnet18': 1.814, 'resnet50': 4.089, 'vgg16': 15.47, 'mobilenet_v2': 0.301}


def published_table() -> list:
    """Return the lines of predicted and published times on Jetsons."""
    lines = [
        '| machine | network | predicted, ms | published, ms | ratio |',
        '|---|---|---|---|---|',
    ]
    for board, network, published_ms in PUBLISHED:
        found = predict(IMAGE_NETWORKS[network].operators, board)
        lines.append(
            '| {} | {} | {:.2f} | {:.2f} | {:.1f} |'.format(
                board.title,
                network,
                1e3 * found.time_s,
                published_ms,
                1e-3 * published_ms / found.time_s,
            )
        )
    return lines


def shipped_table() -> list:
    """Return the lines of what the shipped bundles should take on each board."""
    lines = [
        '| predicted, not measured | clip, ms | launches | mJ at budget | frame, ms | launches '
        '| mJ at budget |',
        '|---|---|---|---|---|---|---|',
    ]
    bundles = [read_bundle(path) for path in SHIPPED]
    for board in MACHINES.values():
        cells = [board.title]
        for bundle in bundles:
            found = predict(counted_operators(bundle), board)
            cells += ['{:.1f}'.format(1e3 * seconds) for seconds in (found.time_s, found.launch_s)]
            cells.append('{:.0f}'.format(1e3 * found.energy_j))
        lines.append('| {} |'.format(' | '.join(cells)))
    return lines


def print_here(threads: int) -> None:
    """Print predicted and measured times of our networks on this processor."""
    missing = [name for name in ('torch', 'onnx') if importlib.util.find_spec(name) is None]
    if missing:
        print('\nroofline here: left out, {} is not installed'.format(', '.join(missing)))
        return
    import torch

    from training.experiments.session import Session
    from training.graph import onnx_model
    from training.models import build
    from training.stamp import operators_of

    torch.manual_seed(0)
    operators, runs = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for title, name, settings in NETWORKS:
            for width in WIDTHS:
                model = onnx_model(build(name, **{**settings, 'width': width}).eval())
                path = Path(folder) / '{}.onnx'.format(len(runs))
                path.write_bytes(model.SerializeToString())
                operators[title, width] = [Operator(*row) for row in operators_of(model)]
                runs[title, width] = Session(path, threads).run
        here, taken = _in_turns(runs, threads)
    print(
        '\n## Here, {}: {:.0f} GFLOP/s, {:.0f} GB/s, {:.2f} us an operator\n'.format(
            here.title, here.flops / 1e9, here.bytes_per_s / 1e9, 1e6 * here.launch_s
        )
    )
    print('| network | widths | M multiply-adds | predicted, ms | quickest (median), ms | ratio |')
    print('|---|---|---|---|---|---|')
    ratios = []
    for (title, width), ms in taken.items():
        own = operators[title, width]
        predicted_ms = 1e3 * predict(own, here).time_s
        ratios.append(min(ms) / predicted_ms)
        print(
            '| {} | × {:g} | {:.1f} | {:.2f} | {:.2f} ({:.2f}) | {:.1f} |'.format(
                title,
                width,
                sum(operator.macs for operator in own) / 1e6,
                predicted_ms,
                min(ms),
                np.median(ms),
                ratios[-1],
            )
        )
    print(
        '\nQuickest over predicted: {:.1f} to {:.1f}, median {:.1f}.'.format(
            min(ratios), max(ratios), np.median(ratios)
        )
    )


def _in_turns(runs, threads):
    """
    Return the peaks and the milliseconds of each run of each callable.

    The peaks are probed now and then in between, as a machine that others use has better moments
    and worse ones; the first round is not counted.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    probed, taken = [], {name: [] for name in runs}
    for number in range(1 + ROUNDS):
        if number % PROBE_EVERY == 0:
            probed.append(measure_here(threads))
        for name, run in runs.items():
            began_s = clock()
            run()
            taken[name].append(1e3 * (clock() - began_s))
    here = probed[0]._replace(
        flops=max(each.flops for each in probed),
        bytes_per_s=max(each.bytes_per_s for each in probed),
        launch_s=min(each.launch_s for each in probed),
    )
    return here, {name: ms[1:] for name, ms in taken.items()}


def main(threads: int = 1) -> None:
    """Print all tables."""
    for name, net in IMAGE_NETWORKS.items():
        gmac = sum(operator.macs for operator in net.operators) / 1e9
        assert abs(gmac / STATED_GMAC[name] - 1) < 0.01, (name, gmac)
    print(machine())
    print('\n## `cs3d.onnx`, a clip, and `cs3d_stream.onnx`, a frame\n')
    print('\n'.join(shipped_table()))
    print_here(threads)
    print('\n## Published by others, TensorRT, fp16 but where told\n')
    print('\n'.join(published_table()))


if __name__ == '__main__':
    main(*(int(argument) for argument in sys.argv[1:]))
