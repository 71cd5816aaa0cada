"""CS3D: C3D with soft spiking neurons, factorised convolutions and attention, each a switch.

Source: CS3D, An Efficient Facial Expression Recognition via Event Vision, arXiv 2512.09592. With
all switches off (and ``norm`` off, ``head='fc'``) this is C3D; the ablation of the paper,
C3D -> +SSN -> +factorised -> +attention, is four settings of this one code.

A 3x3x3 convolution becomes time 3x1x1 (depth-wise), space 1x3x3 (depth-wise), channels 1x1x1
(point-wise), with an identity residual where input and output have equally many channels.

Tensors are (N, C, T, H, W). Everything but the dense convolution is computed by 2-D operators on
views: a 3-D depth-wise convolution has no fast kernel on CPUs nor in TensorRT 8, and the two-step
form is exact. With ``channels_last_3d`` memory every view below is free: one block of the second
stage then trains 5 times faster on two cores than with ``Conv3d``, in bfloat16 25 times.
"""

from dataclasses import dataclass
from typing import Optional

import torch
from torch import nn
from torch.nn import functional as F

from training.models.c3d import FC_WIDTH, Pool, pooled_shape, scaled_plan
from training.models.network import Conv3d, Network, NetworkSettings
from training.models.ssn import SSN

RATE_FLOOR = 0.02  # mean of |frame| that a camera's noise may make; keeps it from being loud


@dataclass(frozen=True)
class CS3DSettings(NetworkSettings):
    """What makes one network of the family; the defaults are the paper's network."""

    ssn: bool = True  # soft spiking neurons in place of ReLU
    factorised: bool = True
    attention: bool = True
    norm: bool = True  # batch normalisation before each activation; C3D of 2015 has none
    head: str = 'fc'  # 'fc' as C3D; 'gap' global average pooling, 48 times fewer parameters
    theta: float = 0.25  # SSN threshold; 40 % of normalised inputs fire; the paper leaves it open
    beta: float = 4.0  # SSN steepness of the surrogate; the paper leaves it open
    learn_theta: bool = False  # one per layer, from theta on
    dropout: float = 0.5
    rate_norm: bool = False  # frames over the mean of |frame|: as strong however many the events
    # The paper's first block filters its one input channel once in time and once in space, so all
    # its outputs are one picture rescaled. More filters see edges in more than one direction.
    stem_filters: int = 1
    stem_stride: int = 1  # 2: the first block halves the picture and all behind it costs a quarter

    def __post_init__(self):
        """Refuse what no network can be."""
        super().__post_init__()
        check_neuron(self)
        self.demand('dropout', 0, 0.99)
        self.demand('stem_filters', 1, 256)
        if self.head not in ('fc', 'gap'):
            raise ValueError("head must be 'fc' or 'gap', got {!r}".format(self.head))
        if self.stem_stride not in (1, 2):
            raise ValueError('stem_stride must be 1 or 2, got {}'.format(self.stem_stride))
        if self.own_stem and not self.factorised:
            raise ValueError('stem_filters and stem_stride need factorised=True')
        pooled_shape(self.frames, -(-self.size // self.stem_stride))

    @property
    def own_stem(self) -> bool:
        """Whether the first block differs from the paper's."""
        return self.stem_filters > 1 or self.stem_stride > 1


def check_neuron(settings):
    """Raise ValueError unless theta, beta and learn_theta make a neuron."""
    settings.demand('theta', 0, 10)
    settings.demand('beta', 0.01, 1000)
    if settings.learn_theta and not (settings.ssn and settings.theta > 0):
        raise ValueError('learn_theta needs ssn=True and theta above 0')


def neuron(settings) -> nn.Module:
    """Return the activation of the settings."""
    if not settings.ssn:
        return nn.ReLU()
    return SSN(settings.theta, settings.beta, settings.learn_theta)


# The canonical C3D as a setting of this code; a test holds that both are one network.
C3D_SETTINGS = CS3DSettings(ssn=False, factorised=False, attention=False, norm=False)


def frames_to_batch(x: torch.Tensor) -> torch.Tensor:
    """View (N, C, T, H, W) as N*T pictures (N*T, C, H, W)."""
    return x.transpose(1, 2).flatten(0, 1)


def batch_to_frames(x: torch.Tensor, frames: int) -> torch.Tensor:
    """Undo frames_to_batch."""
    return x.unflatten(0, (-1, frames)).transpose(1, 2)


class TimeConv(nn.Conv2d):
    """3x1x1 depth-wise convolution, as 3x1 on the view (N, C, T, H*W)."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, (3, 1), padding=(1, 0), groups=channels)

    def forward(self, x):
        return super().forward(x.flatten(3)).unflatten(3, x.shape[3:])


class SpaceConv(nn.Conv2d):
    """1x3x3 depth-wise convolution, as 3x3 on the view (N*T, C, H, W)."""

    def __init__(self, channels: int, filters: int = 0, stride: int = 1):
        super().__init__(channels, filters or channels, 3, stride, padding=1, groups=channels)

    def forward(self, x):
        return batch_to_frames(super().forward(frames_to_batch(x)), x.shape[2])


class PointConv(nn.Conv2d):
    """1x1x1 convolution that mixes channels: a linear layer over them.

    As such it hands on ``channels_last_3d`` memory whatever it was given. A convolution of one
    channel, which lies in memory both ways, would choose the other one for all that follows.
    """

    def __init__(self, channels: int, out: int):
        super().__init__(channels, out, 1)

    def forward(self, x):
        return F.linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


class Norm(nn.BatchNorm2d):
    """Batch normalisation per channel, on the view (N*T, C, H, W)."""

    def forward(self, x):
        return batch_to_frames(super().forward(frames_to_batch(x)), x.shape[2])


class MaxPool(nn.Module):
    """3-D max pooling as space, then time: the maximum of maxima is the same."""

    def __init__(self, pool: Pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        time, space, padding = self.pool
        if space > 1:
            pooled = F.max_pool2d(frames_to_batch(x), space, space, padding)
            x = batch_to_frames(pooled, x.shape[2])
        if time > 1:
            x = F.max_pool2d(x.flatten(3), (time, 1)).unflatten(3, x.shape[3:])
        return x


class Block(nn.Module):
    """One convolution of the plan with what the switches make of it, pooling, activation.

    Pooling stands before the activation: both activations are monotone, so the order does not
    change the result, and an eighth is left to activate.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        settings: CS3DSettings,
        pool: Optional[Pool] = None,
        first: bool = False,
    ):
        super().__init__()
        self.residual = settings.factorised and channels == out
        if not settings.factorised:
            self.conv = Conv3d(channels, out, 3, padding=1)
        elif first and settings.own_stem:
            # Space first: both are linear, and after the stride time costs a quarter.
            filters = settings.stem_filters
            self.conv = nn.Sequential(
                SpaceConv(channels, filters, settings.stem_stride),
                TimeConv(filters),
                PointConv(filters, out),
            )
        else:
            self.conv = nn.Sequential(
                TimeConv(channels), SpaceConv(channels), PointConv(channels, out)
            )
        self.norm = Norm(out) if settings.norm else nn.Identity()
        self.pool = MaxPool(pool) if pool else nn.Identity()
        self.activation = neuron(settings)

    def forward(self, x):
        y = self.norm(self.conv(x))
        return self.activation(self.pool(y + x if self.residual else y))


class Attention(nn.Module):
    """Y = SA(TA(X)) + X, time before space.

    Time: average and maximum over space, (N, C, T), through shared convolutions, their
    element-wise maximum weighs channels in time. Space: average and maximum over channels,
    through one 7x7 convolution, weigh each place of each frame.
    """

    REDUCTION = 4  # of channels between the two shared convolutions; CBAM's idea, small nets

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(4, channels // self.REDUCTION)
        self.squeeze = nn.Conv2d(channels, hidden, (3, 1), padding=(1, 0))
        self.excite = nn.Conv2d(hidden, channels, 1)
        # One 2 -> 1 convolution kept as two of 1 -> 1, so that no graph needs a transpose.
        self.place_mean = nn.Conv2d(1, 1, 7, padding=3)
        self.place_max = nn.Conv2d(1, 1, 7, padding=3, bias=False)

    def forward(self, x):
        return self.weighed(x, self.time_weight(self.pooled(x)))

    def pooled(self, x):
        """Return average and maximum over space, (N, C, T, 2)."""
        return torch.stack([x.mean((3, 4)), x.amax((3, 4))], 3)

    def time_weight(self, pooled):
        """Return the weight of each channel and frame, (N, C, T)."""
        return torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))).amax(3))

    def weighed(self, x, time_weight):
        """Return SA(TA(x)) + x."""
        n, _, t, h, w = x.shape
        x = x.permute(0, 2, 3, 4, 1)  # (N, T, H, W, C), as channels_last_3d lies in memory
        y = x * time_weight.permute(0, 2, 1).unflatten(2, (1, 1, -1))
        seen = torch.stack([y.mean(4), y.amax(4)], 4).flatten(0, 1).permute(0, 3, 1, 2)
        # together, and so channels last: each alone, its gradient takes torch four times as long
        weight = torch.cat([self.place_mean.weight, self.place_max.weight], 1)
        place = F.conv2d(seen, weight, self.place_mean.bias, padding=self.place_mean.padding)
        y = y * torch.sigmoid(place).reshape(n, t, h, w, 1) + x
        return y.permute(0, 4, 1, 2, 3)


def rate_normalised(clip: torch.Tensor) -> torch.Tensor:
    """Return clips, each over the mean of its absolute values; without events it stays 0."""
    return clip / (clip.abs().mean((1, 2, 3, 4), keepdim=True) + RATE_FLOOR)


class CS3D(Network):
    """The network of the settings; logits (N, outputs) of clips (N, 1, T, H, W)."""

    name = 'cs3d'
    Settings = CS3DSettings

    def __init__(self, settings: CS3DSettings = CS3DSettings()):
        super().__init__(settings)
        layers, channels = [], 1
        for stage in scaled_plan(settings.width):
            pools = [None] * (len(stage.channels) - 1) + [stage.pool]
            for out, pool in zip(stage.channels, pools):
                layers.append(Block(channels, out, settings, pool, first=not layers))
                channels = out
            if settings.attention:
                layers.append(Attention(channels))  # after every pooling
        self.features = nn.Sequential(*layers)
        self.head = self._head(channels)

    def _head(self, channels):
        s = self.settings
        if s.head == 'gap':
            return nn.Sequential(
                nn.AdaptiveAvgPool3d(1),
                nn.Flatten(),
                nn.Dropout(s.dropout),
                nn.Linear(channels, s.outputs),
            )
        left, side = pooled_shape(s.frames, -(-s.size // s.stem_stride))
        hidden = int(FC_WIDTH * s.width)
        layers, width = [nn.Flatten()], channels * left * side * side
        for _ in range(2):
            norm = [nn.BatchNorm1d(hidden)] if s.norm else []
            layers += [nn.Linear(width, hidden), *norm, neuron(s), nn.Dropout(s.dropout)]
            width = hidden
        return nn.Sequential(*layers, nn.Linear(width, s.outputs))

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """Return logits of clips, float32 (frame - 128) / 128."""
        self.check(clip, self.settings.frames)
        if self.settings.rate_norm:
            clip = rate_normalised(clip)
        return self.head(self.features(clip))
