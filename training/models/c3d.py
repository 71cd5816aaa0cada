"""C3D, the canonical baseline, and the plan that CS3D shares with it.

Source: Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015,
figure 3: eight 3x3x3 convolutions (stride 1, padding 1) in five stages, a max pooling after each
stage, two fully connected layers of 4096. Here with one input channel and as many outputs as the
task has; at 1x16x112x112 and seven outputs it costs 37.853 G multiply-adds and holds 78.021 M
parameters (``python -m training.models.counter``).
"""

from typing import NamedTuple, Tuple

import torch
from torch import nn


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
    """Return the plan with its channels multiplied by width, in whole multiples of 8.

    Multiples of 8 keep the channels of one voxel together in a vector register.
    """
    if not 0 < width <= 4:
        raise ValueError('width must be in (0, 4], got {}'.format(width))

    def scaled(channels):
        return max(8, int(round(channels * width / 8)) * 8)

    return tuple(Stage(tuple(scaled(c) for c in s.channels), s.pool) for s in PLAN)


def pooled_shape(frames: int, size: int, plan=PLAN) -> Tuple[int, int]:
    """Return (frames, size) that remain after all poolings of the plan."""
    for stage in plan:
        frames //= stage.pool.time
        size = (size + 2 * stage.pool.padding) // stage.pool.space
    return frames, size


class C3D(nn.Module):
    """C3D on clips of event frames.

    Parameters
    ----------
    outputs : int
        Number of logits.
    width : float
        Multiplier of all channels and of the fully connected layers; 1 is canonical.
    frames, size : int
        Length of a clip and side of a frame in px.
    dropout : float
        Probability after each hidden fully connected layer (0.5 in the paper).
    """

    def __init__(self, outputs=7, width=1.0, frames=16, size=112, dropout=0.5):
        super().__init__()
        layers, channels = [], 1
        for stage in scaled_plan(width):
            for out in stage.channels:
                layers += [nn.Conv3d(channels, out, 3, padding=1), nn.ReLU(inplace=True)]
                channels = out
            pool = stage.pool
            kernel = (pool.time, pool.space, pool.space)
            layers.append(nn.MaxPool3d(kernel, kernel, (0, pool.padding, pool.padding)))
        self.features = nn.Sequential(*layers)
        left, side = pooled_shape(frames, size)
        hidden = int(FC_WIDTH * width)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * left * side * side, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, outputs),
        )

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """Return logits (N, outputs) of clips (N, 1, T, H, W)."""
        return self.head(self.features(clip))
