"""C3D, the canonical baseline, and the plan that CS3D shares with it.

Source: Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015,
figure 3: eight 3x3x3 convolutions (stride 1, padding 1) in five stages, a max pooling after each
stage, two fully connected layers of 4096. Here with one input channel and as many outputs as the
task has; at 1x16x112x112 and seven outputs it costs 37.853 G multiply-adds and holds 78.021 M
parameters (``python -m training.models.counter``).
"""

from dataclasses import dataclass
from typing import NamedTuple, Tuple

import torch
from torch import nn

from training.models.network import Conv3d, Network, NetworkSettings, scaled


class Pool(NamedTuple):
    """Max pooling, kernel equal to stride, over (time, space)."""

    time: int
    space: int
    padding: int  # of space, both sides


class Stage(NamedTuple):
    """Channels of the convolutions of one stage, then its pooling."""

    channels: Tuple[int, ...]
    pool: Pool


# pool1 leaves time alone, so that motion is not lost early; pool5 is padded to 4x4
# (Tran 2015, section 3.1, and the published model definition).
PLAN = (
    Stage((64,), Pool(1, 2, 0)),
    Stage((128,), Pool(2, 2, 0)),
    Stage((256, 256), Pool(2, 2, 0)),
    Stage((512, 512), Pool(2, 2, 0)),
    Stage((512, 512), Pool(2, 2, 1)),
)
FC_WIDTH = 4096


def scaled_plan(width: float) -> Tuple[Stage, ...]:
    """Return the plan with its channels multiplied by width, in whole multiples of 8."""
    return tuple(Stage(tuple(scaled(c, width) for c in s.channels), s.pool) for s in PLAN)


def pooled_side(size: int) -> int:
    """Return the side that remains of a frame after all poolings."""
    for stage in PLAN:
        size = (size + 2 * stage.pool.padding) // stage.pool.space if size else 0
    return size


def pooled_shape(frames: int, size: int) -> Tuple[int, int]:
    """
    Return (frames, size) that remain after all poolings of the plan.

    Raises
    ------
    ValueError
        If nothing remains.
    """
    left, side = frames, pooled_side(size)
    for stage in PLAN:
        left //= stage.pool.time
    if not (left and side):
        raise ValueError(
            'frames {} of {} px leave nothing after five poolings'.format(frames, size)
        )
    return left, side


@dataclass(frozen=True)
class C3DSettings(NetworkSettings):
    """What makes one C3D; width also multiplies the fully connected layers."""

    dropout: float = 0.5  # after each hidden fully connected layer, as in the paper

    def __post_init__(self):
        """Refuse what no network can be."""
        super().__post_init__()
        pooled_shape(self.frames, self.size)
        self.demand('dropout', 0, 0.99)


class C3D(Network):
    """C3D; logits (N, outputs) of clips (N, 1, T, H, W)."""

    name = 'c3d'
    Settings = C3DSettings

    def __init__(self, settings: C3DSettings = C3DSettings()):
        super().__init__(settings)
        s = settings
        layers, channels = [], 1
        for stage in scaled_plan(s.width):
            for out in stage.channels:
                layers += [Conv3d(channels, out, 3, padding=1), nn.ReLU(inplace=True)]
                channels = out
            pool = stage.pool
            kernel = (pool.time, pool.space, pool.space)
            layers.append(nn.MaxPool3d(kernel, kernel, (0, pool.padding, pool.padding)))
        self.features = nn.Sequential(*layers)
        left, side = pooled_shape(s.frames, s.size)
        hidden = int(FC_WIDTH * s.width)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * left * side * side, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(s.dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(s.dropout),
            nn.Linear(hidden, s.outputs),
        )

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """Return logits of clips, float32 (frame - 128) / 128."""
        self.check(clip, self.settings.frames)
        return self.head(self.features(clip))
