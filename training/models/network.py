"""What networks share: settings that refuse nonsense, a name, a look at what comes in, layers."""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class NetworkSettings:
    """
    What every network has; each adds its own.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    outputs: int = 7
    frames: int = 16  # of a clip
    size: int = 112  # side of a frame, px
    width: float = 1.0  # multiplier of all channels

    def __post_init__(self):
        """Refuse what no network can be."""
        self.demand('outputs', 2, 1000)
        self.demand('frames', 1, 1024)
        self.demand('size', 16, 1024)
        self.demand('width', 1 / 64, 4)

    def demand(self, name: str, lowest: float, highest: float):
        """Raise ValueError unless the value of a name lies within both bounds."""
        value, kind = getattr(self, name), self.__dataclass_fields__[name].type
        fits = isinstance(value, int) or (kind is float and isinstance(value, float))
        if not fits or not lowest <= value <= highest:
            raise ValueError(
                '{} must be {} from {} to {}, got {!r}'.format(
                    name, 'whole' if kind is int else 'a number', lowest, highest, value
                )
            )

    def as_dict(self) -> dict:
        """Return the settings as plain values, for checkpoints and metadata."""
        return asdict(self)


class Network(nn.Module):
    """A network with a name that ``build`` knows, and its settings."""

    name = ''
    Settings = NetworkSettings

    def __init__(self, settings: NetworkSettings):
        super().__init__()
        self.settings = settings

    def check(self, clip: torch.Tensor, frames: int | None):
        """
        Raise ValueError unless a tensor is float (N, 1, frames, size, size).

        ``frames`` None takes any number above 0. The type must be that of the weights.
        """
        s = self.settings
        wanted = (1, frames, s.size, s.size)
        found = tuple(clip.shape[1:])
        if frames is None and clip.ndim == 5 and clip.shape[2] > 0:
            found = (found[0], None, *found[2:])
        if clip.ndim != 5 or found != wanted or clip.shape[0] == 0:
            raise ValueError(
                '{} reads (N, 1, {}, {}, {}), got {}'.format(
                    self.name, frames or 'T', s.size, s.size, tuple(clip.shape)
                )
            )
        dtype = next(self.parameters()).dtype
        if clip.dtype != dtype:
            raise ValueError(
                '{} reads (frame - 128) / 128 as {}, got {}'.format(self.name, dtype, clip.dtype)
            )


class Conv3d(nn.Conv3d):
    """
    ``torch.nn.Conv3d`` whose gradients are right of short clips, too.

    oneDNN 3.12 (of torch 2.13, on CPUs with bfloat16) reads memory that was never written for the
    gradient of the weights where a kernel of three frames, padded, sees two: any number, NaN
    included. Frames padded here leave nothing to pad there.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time, *space = self.padding
        if x.shape[2] >= self.kernel_size[0]:
            return super().forward(x)
        padded = F.pad(x, (0, 0, 0, 0, time, time))
        return F.conv3d(
            padded, self.weight, self.bias, self.stride, (0, *space), self.dilation, self.groups
        )


def channels_last(network: nn.Module) -> nn.Module:
    """
    Return a network whose weights lie channels last, in two and in three dimensions.

    ``Module.to(memory_format=...)`` takes one format for all and refuses the other's weights.
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.dim() in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])
    return network


def scaled(channels: int, width: float) -> int:
    """
    Return channels times width, in whole multiples of 8.

    Multiples of 8 keep the channels of one voxel together in a vector register.
    """
    return max(8, int(round(channels * width / 8)) * 8)
