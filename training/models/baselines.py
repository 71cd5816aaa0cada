"""What CS3D is compared with, on the same clips: 3-D residual, recurrent, attentive networks.

Each is the idea of its source at the size of this task, not a copy of its weights or its training:

- ``r2plus1d``: Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition,
  CVPR 2018: an 18-layer residual network whose 3x3x3 convolutions are 1x3x3, then 3x1x1.
- ``cnn_lstm``: Donahue et al., Long-term Recurrent Convolutional Networks, CVPR 2015: a 2-D
  network on each frame, an LSTM over its answers.
- ``transformer``: Arnab et al., ViViT, ICCV 2021, model 1: tubelets become tokens, and a
  transformer (``torch.nn.TransformerEncoder``) attends over all of them.
"""

from dataclasses import dataclass

import torch
from torch import nn

from training.models.c3d import pooled_side, scaled_plan
from training.models.cs3d import frames_to_batch
from training.models.network import Conv3d, Network, NetworkSettings, scaled


@dataclass(frozen=True)
class R2Plus1DSettings(NetworkSettings):
    """What makes one (2+1)-D residual network."""

    blocks: int = 2  # in each of four stages; 2 make the 18 layers of the paper
    dropout: float = 0.2

    def __post_init__(self):
        """Refuse what no network can be."""
        super().__post_init__()
        self.demand('blocks', 1, 8)
        self.demand('dropout', 0, 0.99)


def conv2plus1d(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    """Return 1x3x3, normalisation, ReLU, 3x1x1, as wide between as costs what 3x3x3 would."""
    between = (27 * channels * out) // (9 * channels + 3 * out)  # section 3.5 of the paper
    return nn.Sequential(
        nn.Conv3d(channels, between, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        nn.BatchNorm3d(between),
        nn.ReLU(inplace=True),
        Conv3d(between, out, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
        nn.BatchNorm3d(out),
    )


class ResidualBlock(nn.Module):
    """Two (2+1)-D convolutions and a way around them."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            conv2plus1d(channels, out, stride), nn.ReLU(inplace=True), conv2plus1d(out, out)
        )
        self.around = nn.Identity()
        if channels != out or stride > 1:
            self.around = nn.Sequential(
                nn.Conv3d(channels, out, 1, stride, bias=False), nn.BatchNorm3d(out)
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.activation(self.body(x) + self.around(x))


class R2Plus1D(Network):
    """Logits (N, outputs) of clips (N, 1, T, H, W)."""

    name = 'r2plus1d'
    Settings = R2Plus1DSettings

    def __init__(self, settings: R2Plus1DSettings = R2Plus1DSettings()):
        super().__init__(settings)
        s = settings
        widths = [scaled(c, s.width) for c in (64, 128, 256, 512)]
        between = scaled(45, s.width)  # 45 in the paper
        layers = [
            nn.Conv3d(1, between, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(between),
            nn.ReLU(inplace=True),
            Conv3d(between, widths[0], (3, 1, 1), padding=(1, 0, 0), bias=False),
            nn.BatchNorm3d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        channels = widths[0]
        for stage, out in enumerate(widths):
            for block in range(s.blocks):
                layers.append(ResidualBlock(channels, out, 2 if stage and not block else 1))
                channels = out
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Dropout(s.dropout),
            nn.Linear(channels, s.outputs),
        )

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """Return logits of clips, float32 (frame - 128) / 128."""
        self.check(clip, self.settings.frames)
        return self.head(self.features(clip))


@dataclass(frozen=True)
class CNNLSTMSettings(NetworkSettings):
    """What makes one recurrent network."""

    hidden: int = 256  # of the LSTM, at width 1
    dropout: float = 0.2

    def __post_init__(self):
        """Refuse what no network can be."""
        super().__post_init__()
        self.demand('hidden', 8, 4096)
        self.demand('dropout', 0, 0.99)
        if not pooled_side(self.size):
            raise ValueError('size {} leaves nothing after five poolings'.format(self.size))


class CNNLSTM(Network):
    """Logits (N, outputs) of clips (N, 1, T, H, W); each frame through C3D's plan in 2-D."""

    name = 'cnn_lstm'
    Settings = CNNLSTMSettings

    def __init__(self, settings: CNNLSTMSettings = CNNLSTMSettings()):
        super().__init__(settings)
        s = settings
        layers, channels = [], 1
        for stage in scaled_plan(s.width):
            for out in stage.channels:
                layers += [
                    nn.Conv2d(channels, out, 3, padding=1, bias=False),
                    nn.BatchNorm2d(out),
                    nn.ReLU(inplace=True),
                ]
                channels = out
            layers.append(nn.MaxPool2d(stage.pool.space, padding=stage.pool.padding))
        self.frame = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        hidden = scaled(s.hidden, s.width)
        self.lstm = nn.LSTM(channels, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(s.dropout), nn.Linear(hidden, s.outputs))

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """Return logits of clips, float32 (frame - 128) / 128."""
        self.check(clip, self.settings.frames)
        seen = self.frame(frames_to_batch(clip)).unflatten(0, (len(clip), -1))  # (N, T, C)
        return self.head(self.lstm(seen)[0][:, -1])


@dataclass(frozen=True)
class TransformerSettings(NetworkSettings):
    """What makes one video transformer."""

    tubelet_frames: int = 2
    tubelet_size: int = 16  # px
    dim: int = 192  # of a token at width 1, as ViT-Ti
    depth: int = 6
    heads: int = 4
    dropout: float = 0.1

    def __post_init__(self):
        """Refuse what no network can be."""
        super().__post_init__()
        self.demand('tubelet_frames', 1, self.frames)
        self.demand('tubelet_size', 1, self.size)
        self.demand('dim', 8, 4096)
        self.demand('depth', 1, 48)
        self.demand('heads', 1, 8)
        self.demand('dropout', 0, 0.99)
        if self.frames % self.tubelet_frames or self.size % self.tubelet_size:
            raise ValueError(
                'clips of {} frames and {} px do not divide into tubelets of {} and {}'.format(
                    self.frames, self.size, self.tubelet_frames, self.tubelet_size
                )
            )
        if 8 % self.heads:
            raise ValueError('heads must divide 8, as widths are whole multiples of it')


class Transformer(Network):
    """Logits (N, outputs) of clips (N, 1, T, H, W); mean of all tokens, pre-norm."""

    name = 'transformer'
    Settings = TransformerSettings

    def __init__(self, settings: TransformerSettings = TransformerSettings()):
        super().__init__(settings)
        s = settings
        dim = scaled(s.dim, s.width)
        tubelet = (s.tubelet_frames, s.tubelet_size, s.tubelet_size)
        self.embed = nn.Conv3d(1, dim, tubelet, tubelet)
        # A tubelet's place is when plus where, so that 8 + 49 vectors serve 392 tokens.
        self.when = nn.Parameter(0.02 * torch.randn(s.frames // tubelet[0], 1, dim))
        self.where = nn.Parameter(0.02 * torch.randn((s.size // tubelet[1]) ** 2, dim))
        layer = nn.TransformerEncoderLayer(
            dim, s.heads, 4 * dim, s.dropout, 'gelu', batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, s.depth, nn.LayerNorm(dim), enable_nested_tensor=False
        )
        self.head = nn.Linear(dim, s.outputs)

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """Return logits of clips, float32 (frame - 128) / 128."""
        self.check(clip, self.settings.frames)
        tokens = self.embed(clip).flatten(3).permute(0, 2, 3, 1)  # (N, T', places, dim)
        tokens = (tokens + self.when + self.where).flatten(1, 2)
        return self.head(self.encoder(tokens).mean(1))
