"""The network of Spiking-FER, on snnTorch's neurons: what spikes in the whole sense can do.

Source: Barchid et al., Spiking-FER: Spiking Neural Network for Facial Expression Recognition With
Event Cameras, CBMI 2023, arXiv 2304.10211: a spike-element-wise ResNet-18 (Fang et al., Deep
Residual Learning in Spiking Neural Networks, NeurIPS 2021, residuals joined by ADD) on event
frames with a channel per polarity; integrate-and-fire neurons without leak, hard reset, arctangent
surrogate; a linear answer without bias, averaged over time. Poolings and widths are ResNet-18's.
"""

from dataclasses import dataclass

import snntorch
import torch
from snntorch import surrogate
from torch import nn

from training.models.network import Network, NetworkSettings, scaled
from training.models.ssn import Activation


@dataclass(frozen=True)
class SpikingSettings(NetworkSettings):
    """What makes one spiking network."""

    blocks: int = 2  # in each of four stages; 2 make ResNet-18
    threshold: float = 1.0  # of the membrane
    alpha: float = 2.0  # steepness of the surrogate

    def __post_init__(self):
        """Refuse what no network can be."""
        super().__post_init__()
        self.demand('blocks', 1, 8)
        self.demand('threshold', 0.01, 100)
        self.demand('alpha', 0.01, 100)


class Spikes(Activation):
    """Integrate-and-fire neurons over time: (N, T, C, H, W) in, spikes of that shape out."""

    def __init__(self, settings: SpikingSettings):
        super().__init__()
        with torch.device('cpu'):  # it reads its own buffers, which the meta device cannot
            self.neuron = snntorch.Leaky(
                beta=1.0,  # no leak
                threshold=settings.threshold,
                spike_grad=surrogate.atan(alpha=settings.alpha),
                reset_mechanism='zero',
            )
        # The library keeps every neuron that was ever made in a list, for states that it holds
        # itself; ours are passed in, and networks ought to be freed.
        snntorch.SpikingNeuron.instances.remove(self.neuron)

    def forward(self, current):
        membrane, spikes = torch.zeros_like(current[:, 0]), []
        for t in range(current.shape[1]):
            spike, membrane = self.neuron(current[:, t], membrane)
            spikes.append(spike)
        self.neuron.mem = current.new_zeros(0)  # or the graph of this clip would live on
        return torch.stack(spikes, 1)


class PerFrame(nn.Sequential):
    """Layers that see each frame alone: (N, T, C, H, W) folded to (N*T, C, H, W) and back."""

    def forward(self, x):
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def convolved(channels: int, out: int, kernel: int, stride: int) -> PerFrame:
    """Return convolution and normalisation."""
    return PerFrame(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out)
    )


class SpikingBlock(nn.Module):
    """Two spiking convolutions; their spikes are added to those that go around them."""

    def __init__(self, channels: int, out: int, stride: int, settings: SpikingSettings):
        super().__init__()
        self.body = nn.Sequential(
            convolved(channels, out, 3, stride),
            Spikes(settings),
            convolved(out, out, 3, 1),
            Spikes(settings),
        )
        nn.init.zeros_(self.body[2][1].weight)  # at first only what goes around passes
        self.around = nn.Identity()
        if channels != out or stride > 1:
            self.around = nn.Sequential(convolved(channels, out, 1, stride), Spikes(settings))

    def forward(self, x):
        return self.body(x) + self.around(x)


class SpikingFER(Network):
    """Logits (N, outputs) of clips (N, 1, T, H, W); the frames are the time steps."""

    name = 'spiking'
    Settings = SpikingSettings

    def __init__(self, settings: SpikingSettings = SpikingSettings()):
        super().__init__(settings)
        s = settings
        widths = [scaled(c, s.width) for c in (64, 128, 256, 512)]
        layers = [
            convolved(2, widths[0], 7, 2),
            Spikes(s),
            PerFrame(nn.MaxPool2d(3, 2, 1)),
        ]
        channels = widths[0]
        for stage, out in enumerate(widths):
            for block in range(s.blocks):
                layers.append(SpikingBlock(channels, out, 2 if stage and not block else 1, s))
                channels = out
        self.features = nn.Sequential(*layers, PerFrame(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        self.head = nn.Linear(channels, s.outputs, bias=False)

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """Return logits of clips, float32 (frame - 128) / 128."""
        self.check(clip, self.settings.frames)
        frames = clip.transpose(1, 2)
        polarities = torch.cat([frames.clamp_min(0), (-frames).clamp_min(0)], 2)  # ON, OFF
        return self.head(self.features(polarities).mean(1))
