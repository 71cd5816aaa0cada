"""What a network costs, layer by layer: ``python -m training.models.counter`` prints the tables.

Counted by watching the operators of one clip (of a streaming network: one frame) go by on torch's
meta device, which computes shapes and nothing else. Conventions:

- a multiply-add of a convolution, a linear layer or a matrix product is one MAC, and their biases
  cost none;
- operations are two per MAC, and one for each value that any other operator reads or writes,
  whichever are more: activations, poolings, additions. Views and copies cost none.
- Batch normalisation costs none, and its parameters are told apart, as export folds it away.
- Activation bytes are what the operators write as float32, views and normalisation apart.

Energy is an estimate, never a measurement: multiply-adds times what one costs in 45 nm silicon,
without memory, which usually costs more.
"""

import argparse
import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from training.models import LADDER, Network, build
from training.models.ssn import Activation

# Horowitz, Computing's Energy Problem, ISSCC 2014, figure 1.1.9: 32-bit floating point in 45 nm,
# multiplication 3.7 pJ, addition 0.9 pJ.
MAC_J = 4.6e-12
ADDITION_J = 0.9e-12  # what is left of a MAC where the input is a spike


@dataclass
class LayerCost:
    """Cost of one layer for one clip or frame."""

    name: str
    macs: int = 0
    operations: int = 0
    parameters: int = 0  # without those of batch normalisation
    norm_parameters: int = 0
    activation_bytes: int = 0


@dataclass
class NetworkCost:
    """
    Cost of all layers, in the order in which the network holds them.

    A layer is a module together with the operators of its own code, named as torch names it.
    """

    layers: list[LayerCost]

    def total(self, what: str, under: str = '') -> int:
        """Return the sum of a field over all layers, or those within the one named ``under``."""
        return sum(
            getattr(layer, what)
            for layer in self.layers
            if not under or layer.name == under or layer.name.startswith(under + '.')
        )

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        return self.total('macs')

    @property
    def operations(self) -> int:
        """Operations, two per multiply-add."""
        return self.total('operations')

    @property
    def parameters(self) -> int:
        """Weights and biases, batch normalisation folded away."""
        return self.total('parameters')

    @property
    def norm_parameters(self) -> int:
        """Scales and shifts of batch normalisation, learnt but not shipped."""
        return self.total('norm_parameters')

    @property
    def activation_bytes(self) -> int:
        """Bytes that all layers write."""
        return self.total('activation_bytes')

    @property
    def energy_j(self) -> float:
        """Estimated joules of all multiply-adds, none of them skipped."""
        return self.macs * MAC_J


def count(network: Network) -> NetworkCost:
    """
    Return the cost of one clip, or of one frame of a streaming network.

    Examples
    --------
    >>> cost = count(build('c3d'))
    >>> cost.macs, cost.parameters
    (37853360128, 78021383)
    """
    twin, inputs = _twin(network)
    with torch.no_grad(), _Ledger(twin) as ledger:
        twin(*inputs) if len(inputs) == 1 else twin.step(*inputs)
    return NetworkCost(
        [c for c in ledger.layers.values() if c.operations or c.parameters or c.norm_parameters]
    )


def measured_macs(network: Network) -> int:
    """Return the multiply-adds of one clip or frame as torch's own counter sees them."""
    twin, inputs = _twin(network)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(*inputs) if len(inputs) == 1 else twin.step(*inputs)
    return counter.get_total_flops() // 2


def _twin(network):
    """Return a network like this on the meta device, and one input: a clip, or frame and state."""
    s = network.settings
    with torch.device('meta'):
        twin = build(network.name, **s.as_dict()).to('meta').eval()
        if network.name == 'stream':
            return twin, (torch.zeros(1, 1, s.size, s.size), twin.initial_state())
        return twin, (torch.zeros(1, 1, s.frames, s.size, s.size),)


class _Ledger(TorchDispatchMode):
    """Books each operator on the module whose forward runs."""

    FREE = {
        'native_batch_norm',  # folded away
        'le',  # a neuron's comparison, one operator with what follows it
        '_unsafe_view',  # a view of what nothing else holds
        *('cat', 'stack', 'clone', 'copy_', 'constant_pad_nd', 'unsafe_split', 'detach'),  # copies
        *('empty', 'zeros', 'zeros_like', 'new_zeros', 'scalar_tensor'),
    }

    def __init__(self, network):
        super().__init__()
        self.layers, self.running = {}, ['']
        for name, module in network.named_modules():
            module.register_forward_pre_hook(lambda *_, name=name: self.running.append(name))
            module.register_forward_hook(lambda *_: self.running.pop() and None)
        for name, module in network.named_modules():
            kind = 'norm_parameters' if isinstance(module, _BatchNorm) else 'parameters'
            own = sum(p.numel() for p in module.parameters(recurse=False))
            self.layers[name] = LayerCost(name, **{kind: own})

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        answer = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        written = _tensors(answer)[:1]  # poolings also write where they found the maximum
        if written and not (function.is_view or name in self.FREE or _adds_bias(name, args)):
            layer = self.layers[self.running[-1]]
            macs = _macs(name, args, written[0])
            values = max(t.numel() for t in written + _tensors(args))
            layer.macs += macs
            layer.operations += 2 * macs or values
            layer.activation_bytes += 4 * written[0].numel()
        return answer


def _tensors(values):
    values = values if isinstance(values, (tuple, list)) else (values,)
    return [value for value in values if isinstance(value, torch.Tensor)]


def _adds_bias(name, args):
    """Return whether an operator adds the bias of a linear layer, which torch may part from it."""
    return name in ('add', 'add_') and getattr(args[1], 'ndim', 0) == 1 < args[0].ndim


def _macs(name, args, answer):
    """Return the multiply-adds of an operator: as many per value put out as it sums products."""
    if name == 'convolution':
        weight = args[1]  # (out, in / groups, *kernel)
        return answer.numel() * weight[0].numel()
    if name in ('mm', 'bmm'):
        return answer.numel() * args[0].shape[-1]
    if name in ('addmm', 'baddbmm'):
        return answer.numel() * args[1].shape[-1]
    return 0


@dataclass
class Activity:
    """How busy a network is on given inputs."""

    silent: dict[str, float]  # activation layer: share of zeros among what it puts out
    used: dict[str, float]  # layer with weights: share of its inputs that are not zero
    spikes: dict[str, float]  # of those, layers whose inputs are whole numbers: their mean


def activity(network: Network, inputs: torch.Tensor) -> Activity:
    """
    Return how busy a network is on clips or sequences (N, 1, T, H, W).

    A soft spiking layer that is silent almost everywhere has too high a threshold.
    """
    silent, used, spikes, hooks = {}, {}, {}, []

    def book(sums, name, value, total):
        before = sums.get(name, (0.0, 0))
        sums[name] = (before[0] + float(value), before[1] + total)

    def after(module, _, answer, name):
        book(silent, name, (answer == 0).sum(), answer.numel())

    def before(module, args, name):
        x = args[0]
        book(used, name, (x != 0).sum(), x.numel())
        whole = bool((x == x.round()).all())
        book(spikes, name, x.abs().sum() if whole else float('nan'), x.numel())

    for name, module in network.named_modules():
        if isinstance(module, (Activation, nn.ReLU)):
            hooks.append(module.register_forward_hook(partial(after, name=name)))
        elif isinstance(module, (_ConvNd, nn.Linear)):
            hooks.append(module.register_forward_pre_hook(partial(before, name=name)))
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(inputs)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    silent, used, spikes = (
        {name: value / total for name, (value, total) in sums.items()}
        for sums in (silent, used, spikes)
    )
    return Activity(silent, used, {n: mean for n, mean in spikes.items() if not math.isnan(mean)})


def sparse_energy_j(cost: NetworkCost, busy: Activity) -> float:
    """
    Return estimated joules on hardware that skips every multiply-add whose input is zero.

    Such hardware exists for few operators (neuromorphic chips); CPUs and GPUs skip nothing. Where
    the inputs are spikes, whole numbers, each costs so many additions instead.
    """
    return sum(
        layer.macs * ADDITION_J * busy.spikes[layer.name]
        if layer.name in busy.spikes
        else layer.macs * MAC_J * busy.used.get(layer.name, 1.0)
        for layer in cost.layers
    )


TABLE = {
    'C3D of 2015': ('c3d', {}),
    **{name: step for name, step in LADDER.items() if name != 'stream'},
    'CS3D, pooled head': ('cs3d', {'head': 'gap'}),
    'CS3D, pooled head, own stem': (
        'cs3d',
        {'head': 'gap', 'stem_filters': 8, 'stem_stride': 2},
    ),
    'CS3D-Stream, per frame': ('stream', {}),
    'R(2+1)D': ('r2plus1d', {}),
    'CNN + LSTM': ('cnn_lstm', {}),
    'video transformer': ('transformer', {}),
    'Spiking-FER': ('spiking', {}),
}
HEADER = '{:<30} {:>10} {:>10} {:>10} {:>12} {:>10}'
ROW = '{:<30} {:>10.3f} {:>10.3f} {:>10.3f} {:>12.2f} {:>10.3f}'


def row_of(name: str, cost) -> str:
    """Return a line of the table for a network or a layer."""
    return ROW.format(
        name,
        cost.macs / 1e6,
        cost.operations / 1e6,
        cost.parameters / 1e6,
        cost.activation_bytes / 1e6,
        cost.macs * MAC_J * 1e3,
    )


def main(argv=None):
    """Print what clips of 1x16x112x112 and seven outputs cost."""
    p = argparse.ArgumentParser(
        prog='python -m training.models.counter',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('--width', type=float, help='of all networks; left out, each has its own')
    p.add_argument('--layers', choices=TABLE, metavar='NETWORK', help='each layer of one network')
    args = p.parse_args(argv)
    given = {} if args.width is None else {'width': args.width}
    print(HEADER.format('', 'MMAC', 'MOP', 'params M', 'activ. MB', 'est. mJ'))
    for name in [args.layers] if args.layers else TABLE:
        kind, settings = TABLE[name]
        try:
            cost = count(build(kind, **{**given, **settings}))
        except ValueError as error:
            p.error(str(error))
        for layer in cost.layers if args.layers else ():
            print(row_of(layer.name, layer))
        print(row_of(name, cost))


if __name__ == '__main__':
    main()
