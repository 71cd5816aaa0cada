"""CS3D-Stream: CS3D made causal. One event frame in, one estimate out, all memory in the open.

The blocks and the attention are CS3D's, with three changes. A temporal convolution sees this frame
and two past ones; what C3D pools in time, deeper taps skip instead, so that there is an answer
after every frame. Attention pools over space only, its temporal convolution is causal as well. And
behind the last block stands a gated cell that holds what the face wears: it moves as far as there
are events, and a still face sends none.

Every layer maps (x, past) to (y, next past), x (N, C, T, H, W) with any T >= 1: a whole sequence
and a single frame run through the same lines. A past is a tensor of fixed shape, zeros at the
beginning, which is what causal convolutions are padded with.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from training.models.c3d import Pool, pooled_side, scaled_plan
from training.models.cs3d import (
    Attention,
    MaxPool,
    Norm,
    PointConv,
    SpaceConv,
    check_neuron,
    neuron,
)
from training.models.network import Network, NetworkSettings

# Frames between the taps of each stage. C3D's pooling in time would make it 1, 1, 2, 4, 8; these
# keep the past half as large and still reach over 33 frames, 1.1 s, longer than most onsets.
SPACING = (1, 1, 1, 2, 4)
# Mean of |frame| over a frame's cells at which the cell moves at half its speed.
HALF_ACTIVITY = 0.004
SLOW = -2.2  # logit of the gate at first, a tenth per frame: on real faces slow beat fast


@dataclass(frozen=True)
class StreamSettings(NetworkSettings):
    """What makes one streaming network."""

    frames: int = 1  # read at a time; what was before is in the state
    width: float = 0.5
    ssn: bool = True
    attention: bool = True
    # At 0 the neuron does not jump, so that no rounding can tip one over: the step and the
    # sequence, torch and ONNX Runtime, float32 and int8 then agree at every frame.
    theta: float = 0.0
    beta: float = 4.0
    learn_theta: bool = False
    dropout: float = 0.2
    stem_filters: int = 16  # of 3x3, before anything else
    stem_stride: int = 2
    cell: int = 128  # width of the gated cell; 0: none, for answers about what changes right now
    transitions: int = (
        0  # outputs of a head for training only: what the last second shows changing
    )

    def __post_init__(self):
        """Refuse what no network can be."""
        super().__post_init__()
        check_neuron(self)
        self.demand('frames', 1, 1)
        self.demand('dropout', 0, 0.99)
        self.demand('stem_filters', 1, 256)
        self.demand('stem_stride', 1, 2)
        self.demand('cell', 0, 1024)
        self.demand('transitions', 0, 1000)
        if not pooled_side(-(-self.size // self.stem_stride)):
            raise ValueError('size {} leaves nothing after five poolings'.format(self.size))


def extend(past: torch.Tensor | None, x: torch.Tensor, frames: int) -> torch.Tensor:
    """Return x (N, C, T, L) with so many past frames before it, zeros where past is None."""
    return F.pad(x, (0, 0, frames, 0)) if past is None else torch.cat([past, x], 2)


class CausalTimeConv(nn.Conv2d):
    """Depth-wise convolution over this frame and two past ones, on the view (N, C, T, H*W)."""

    def __init__(self, channels: int, spacing: int):
        super().__init__(channels, channels, (3, 1), dilation=(spacing, 1), groups=channels)
        self.memory = 2 * spacing  # frames

    def forward(self, x, past=None):
        """Return y like x (N, C, T, H, W), and the next past (N, C, memory, H*W)."""
        rows = extend(past, x.flatten(3), self.memory)
        return super().forward(rows).unflatten(3, x.shape[3:]), rows[:, :, -self.memory :]


class StreamBlock(nn.Module):
    """A block of CS3D with causal time, and no pooling of it; the first filters space first."""

    def __init__(self, channels, out, settings, spacing, pool: Pool | None, side: int):
        super().__init__()
        s, self.first = settings, channels == 1
        filters = s.stem_filters if self.first else channels
        self.space = SpaceConv(channels, filters, s.stem_stride if self.first else 1)
        self.time = CausalTimeConv(filters, spacing)
        self.point = PointConv(filters, out)
        self.norm = Norm(out)
        self.pool = MaxPool(Pool(1, pool.space, pool.padding)) if pool else nn.Identity()
        self.activation = neuron(settings)
        self.residual = channels == out
        self.memory_shape = (filters, self.time.memory, side * side)

    def forward(self, x, past=None):
        if self.first:  # after the stride, time costs a quarter
            y, past = self.time(self.space(x), past)
        else:
            y, past = self.time(x, past)
            y = self.space(y)
        y = self.norm(self.point(y))
        return self.activation(self.pool(y + x if self.residual else y)), past


class CausalAttention(Attention):
    """Attention of CS3D whose shared convolution sees this frame and the two before it."""

    MEMORY = 2  # frames

    def __init__(self, channels: int):
        super().__init__(channels)
        self.squeeze.padding = (0, 0)
        self.memory_shape = (channels, self.MEMORY, 2)

    def forward(self, x, past=None):
        rows = extend(past, self.pooled(x), self.MEMORY)
        return self.weighed(x, self.time_weight(rows)), rows[:, :, -self.MEMORY :]


class HoldingCell(nn.Module):
    """
    A gated cell whose gate closes where nothing is seen.

    h[t] = h[t-1] + a[t] z[t] (c[t] - h[t-1]), with the gate z and the candidate c of a minimal
    gated unit (Zhou et al., arXiv 1603.09420) that see the features and h[t-1], and the activity
    a = e / (e + half) of the frame, e the mean of its absolute values: a blank frame changes
    nothing at all.
    """

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.seen = nn.Linear(inputs, 2 * width)
        self.held = nn.Linear(width, 2 * width, bias=False)
        nn.init.constant_(self.seen.bias[:width], SLOW)
        self.memory_shape = (width,)

    def forward(self, features, frames, held=None):
        """
        Return what is held after each frame (N, T, width), and after the last (N, width).

        Parameters
        ----------
        features : (N, T, C)
        frames : (N, 1, T, H, W)
        """
        energy = frames.abs().mean((1, 3, 4))
        activity = (energy / (energy + HALF_ACTIVITY)).unsqueeze(2)
        seen = self.seen(features).to(frames.dtype)  # bfloat16 would round small steps away
        if held is None:
            held = seen.new_zeros(seen.shape[0], *self.memory_shape)
        answers = []
        for t in range(seen.shape[1]):
            gate, candidate = (seen[:, t] + self.held(held)).chunk(2, 1)
            held = held + activity[:, t] * torch.sigmoid(gate) * (torch.tanh(candidate) - held)
            answers.append(held)
        return torch.stack(answers, 1), held


class CS3DStream(Network):
    """The streaming network of the settings; its logits say what the face wears, per frame."""

    name = 'stream'
    Settings = StreamSettings

    def __init__(self, settings: StreamSettings = StreamSettings()):
        super().__init__(settings)
        s = settings
        self.layers = nn.ModuleDict()
        channels, side = 1, -(-s.size // s.stem_stride)
        for index, (stage, spacing) in enumerate(zip(scaled_plan(s.width), SPACING), 1):
            pools = [None] * (len(stage.channels) - 1) + [stage.pool]
            for letter, out, pool in zip('ab', stage.channels, pools):
                self.layers['taps_{}{}'.format(index, letter)] = StreamBlock(
                    channels, out, s, spacing, pool, side
                )
                channels = out
            side = (side + 2 * stage.pool.padding) // stage.pool.space
            if s.attention:
                self.layers['pooled_{}'.format(index)] = CausalAttention(channels)
        self.dropout = nn.Dropout(s.dropout)
        self.cell = HoldingCell(channels, s.cell) if s.cell else None
        self.answer = nn.Linear(s.cell or channels, s.outputs)
        self.transition = nn.Linear(channels, s.transitions) if s.transitions else None

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the tensors of the state, in order."""
        return (*self.layers, *(['cell'] if self.cell else []))

    def initial_state(self, batch: int = 1) -> tuple[torch.Tensor, ...]:
        """Return the state before the first frame: zeros of shapes (batch, ...)."""
        stateful = [*self.layers.values(), *([self.cell] if self.cell else [])]
        like = self.answer.weight
        return tuple(like.new_zeros(batch, *layer.memory_shape) for layer in stateful)

    def forward(self, sequence: torch.Tensor, transitions: bool = False):
        """
        Return logits (N, T, outputs) of sequences (N, 1, T, H, W) from their beginning on.

        With ``transitions`` a pair, the second the logits (N, T, transitions) of the head that
        only training has.
        """
        logits, changes, _ = self._run(sequence, None)
        return (logits, self.transition(changes)) if transitions else logits

    def advance(self, sequence: torch.Tensor, state):
        """Return logits (N, T, outputs) of a sequence that goes on from a state, and the next."""
        if len(state) != len(self.state_names):
            raise ValueError(
                'the state has {} tensors, {} were given'.format(len(self.state_names), len(state))
            )
        logits, _, state = self._run(sequence, state)
        return logits, state

    def step(self, frame: torch.Tensor, state):
        """Return logits (N, outputs) of one frame (N, 1, H, W) after a state, and the next."""
        logits, state = self.advance(frame.unsqueeze(2), state)
        return logits[:, 0], state

    def _run(self, sequence, state):
        """Return logits, the features below them (N, T, C), and the next state."""
        self.check(sequence, None)
        pasts = iter(state or [None] * len(self.state_names))
        following, x = [], sequence
        for layer in self.layers.values():
            x, past = layer(x, next(pasts))
            following.append(past)
        features = held = self.dropout(x.mean((3, 4)).transpose(1, 2))
        if self.cell:
            held, past = self.cell(features, sequence, next(pasts))
            following.append(past)
        return self.answer(held), features, tuple(following)
