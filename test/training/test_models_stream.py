import pytest

pytest.importorskip('torch')
import torch
from torch.nn import functional as F

from training.models import build
from training.models.cs3d import MaxPool
from training.models.stream import HALF_ACTIVITY, SPACING, HoldingCell, StreamBlock

SMALL = {'width': 0.125, 'size': 32, 'stem_filters': 4, 'cell': 16}
# longer than the longest memory, 2 * 4 frames
FRAMES = 20


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(5)


def trained(**settings):
    """As after a training: normalisation has seen data that was not normal."""
    network = build('stream', **{**SMALL, **settings})
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval().requires_grad_(False)


def events(frames=FRAMES, batch=2, size=32, dtype=torch.float32):
    """Event frames: a fifth of the cells hit."""
    shape = (batch, 1, frames, size, size)
    return (torch.randint(-4, 5, shape) * (torch.rand(shape) < 0.2)).to(dtype) / 4


def stepped(network, sequence, state):
    answers = []
    for t in range(sequence.shape[2]):
        logits, state = network.step(sequence[:, :, t], state)
        answers.append(logits)
    return torch.stack(answers, 1), state


@pytest.mark.parametrize(
    'settings',
    [{}, {'ssn': False}, {'attention': False}, {'cell': 0}, {'stem_stride': 1}, {'size': 48}],
    ids=str,
)
def test_steps_answer_as_the_sequence_does(settings):
    network = trained(**settings)
    sequence = events(size=network.settings.size)
    answers, _ = stepped(network, sequence, network.initial_state(2))
    torch.testing.assert_close(answers, network(sequence), atol=1e-5, rtol=0)


def test_steps_agree_with_thresholds_that_jump():
    # in float64: in float32 rounding may tip a neuron over its threshold
    network = trained(theta=0.25, learn_theta=True).double()
    sequence = events(dtype=torch.float64)
    answers, _ = stepped(network, sequence, network.initial_state(2))
    torch.testing.assert_close(answers, network(sequence), atol=1e-9, rtol=0)


NAMES = trained().state_names


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'cell'])
def test_each_layer_steps_as_it_runs_through(name):
    network = trained()
    sequence = events()
    past = dict(zip(NAMES, network.initial_state(2)))[name]
    for before, layer in network.layers.items():
        if before == name:
            break
        sequence, _ = layer(sequence)
    whole, end = layer(sequence)
    steps = []
    for t in range(FRAMES):
        step, past = layer(sequence[:, :, t : t + 1], past)
        steps.append(step)
    torch.testing.assert_close(torch.cat(steps, 2), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(past, end, atol=1e-5, rtol=0)


def test_the_cell_steps_as_it_runs_through():
    cell, features, sequence = HoldingCell(8, 16), torch.randn(2, FRAMES, 8), events()
    whole, end = cell(features, sequence)
    held = torch.zeros(2, 16)
    for t in range(FRAMES):
        answer, held = cell(features[:, t : t + 1], sequence[:, :, t : t + 1], held)
        torch.testing.assert_close(answer[:, 0], whole[:, t], atol=1e-5, rtol=0)
    torch.testing.assert_close(held, end, atol=1e-5, rtol=0)


def test_mixed_precision_does_not_round_small_steps_of_the_cell_away():
    cell = HoldingCell(8, 16)
    with torch.no_grad():
        cell.seen.bias[:16] = -7.0  # a thousandth per frame
        cell.seen.bias[16:] = 5.0
    sequence, features = events(1).expand(-1, -1, 600, -1, -1), torch.zeros(2, 600, 8)
    expected, _ = cell(features, sequence)
    with torch.autocast('cpu', torch.bfloat16):
        answers, _ = cell(features, sequence)
    torch.testing.assert_close(answers, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize('cut', [1, 7, FRAMES - 1])
def test_a_sequence_that_goes_on_from_a_state_equals_the_uncut_one(cut):
    network, sequence = trained(), events()
    first, state = network.advance(sequence[:, :, :cut], network.initial_state(2))
    second, _ = network.advance(sequence[:, :, cut:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), network(sequence), atol=1e-5, rtol=0)


def block_by_conv3d(block, x, spacing):
    """The definition: 3-D convolutions on a past of zeros, norm, residual, neuron, pooling."""

    def time(y):
        weight = block.time.weight[..., None]
        y = F.pad(y, (0, 0, 0, 0, 2 * spacing, 0))
        return F.conv3d(y, weight, block.time.bias, dilation=(spacing, 1, 1), groups=y.shape[1])

    def space(y):
        conv = block.space
        stride = (1, *conv.stride)
        weight = conv.weight[:, :, None]
        return F.conv3d(y, weight, conv.bias, stride, (0, 1, 1), groups=y.shape[1])

    y = time(space(x)) if x.shape[1] == 1 else space(time(x))
    y = F.conv3d(y, block.point.weight[..., None], block.point.bias)
    norm = block.norm
    y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    y = torch.relu(y + x if x.shape[1] == y.shape[1] else y)
    if isinstance(block.pool, MaxPool):
        pool = block.pool.pool
        y = F.max_pool3d(y, (1, pool.space, pool.space), padding=(0, pool.padding, pool.padding))
    return y


def attention_by_definition(attention, x):
    squeeze, excite = attention.squeeze, attention.excite
    shared = [
        F.conv1d(
            F.relu(F.conv1d(F.pad(pooled, (2, 0)), squeeze.weight[..., 0], squeeze.bias)),
            excite.weight[..., 0],
            excite.bias,
        )
        for pooled in (x.mean((3, 4)), x.amax((3, 4)))
    ]
    timed = x * torch.sigmoid(torch.maximum(*shared))[..., None, None]
    weight = torch.cat([attention.place_mean.weight, attention.place_max.weight], 1)
    pair = torch.stack([timed.mean(1), timed.amax(1)], 2)
    place = F.conv2d(pair.flatten(0, 1), weight, attention.place_mean.bias, padding=3)
    return timed * torch.sigmoid(place).reshape(len(x), 1, x.shape[2], *x.shape[3:]) + x


def test_2d_operators_equal_the_causal_3d_definition():
    network, sequence = trained(), events()
    x = sequence
    for name, layer in network.layers.items():
        if isinstance(layer, StreamBlock):
            x = block_by_conv3d(layer, x, SPACING[int(name[5]) - 1])
        else:
            x = attention_by_definition(layer, x)
    cell, held = network.cell, torch.zeros(2, 16)
    expected = []
    for t in range(FRAMES):
        mean = sequence[:, 0, t].abs().mean((1, 2))
        activity = (mean / (mean + HALF_ACTIVITY))[:, None]
        seen = cell.seen(x[:, :, t].mean((2, 3))) + cell.held(held)
        gate = activity * torch.sigmoid(seen[:, :16])
        held = (1 - gate) * held + gate * torch.tanh(seen[:, 16:])
        expected.append(network.answer(held))
    torch.testing.assert_close(network(sequence), torch.stack(expected, 1), atol=1e-5, rtol=0)


def test_the_future_changes_no_answer():
    network, sequence = trained(), events()
    other = sequence.clone()
    other[:, :, 12:] = events(FRAMES - 12)
    same, changed = network(sequence), network(other)
    torch.testing.assert_close(same[:, :12], changed[:, :12], atol=1e-6, rtol=0)
    assert (same[:, 12:] - changed[:, 12:]).abs().min(1).values.max() > 1e-6


def test_blank_frames_change_no_answer():
    network, state = trained(), None
    answers, state = network.advance(events(), network.initial_state(2))
    held, _ = stepped(network, torch.zeros(2, 1, 30, 32, 32), state)
    torch.testing.assert_close(held, answers[:, -1:].expand(-1, 30, -1), atol=1e-6, rtol=0)


def test_the_past_reaches_back_33_frames_without_cell_and_attention():
    network = trained(cell=0, attention=False).double()
    sequence = events(40, batch=1, dtype=torch.float64)
    last = network(sequence)[0, -1]

    def matters(age):
        other = sequence.clone()
        other[:, :, 39 - age] = 1 - other[:, :, 39 - age]
        return not torch.equal(network(other)[0, -1], last)

    assert (matters(32), matters(33)) == (True, False)


def test_memory_keeps_its_shape():
    network = trained()
    state = network.initial_state(3)
    _, following = network.step(events(1, 3)[:, :, 0], state)
    assert [x.shape for x in following] == [x.shape for x in state]
    assert len(state) == len(network.state_names) == len(set(network.state_names)) == 14


def test_all_memory_is_in_the_open():
    network, sequence = trained(), events()
    before = network(sequence)
    stepped(network, events(), network.initial_state(2))
    assert torch.equal(network(sequence), before)


def test_a_state_of_another_network_is_refused():
    network = trained()
    with pytest.raises(ValueError, match='14 tensors, 13'):
        network.step(events(1)[:, :, 0], network.initial_state(2)[:-1])


def test_the_head_of_training_says_what_changes_and_leaves_the_answers_alone():
    network, sequence = trained(transitions=8), events()
    logits, changes = network(sequence, transitions=True)
    assert changes.shape == (2, FRAMES, 8)
    assert torch.equal(logits, network(sequence))


def test_the_first_frame_is_learnt_from():
    network = build('stream', **SMALL)
    sequence = events().requires_grad_()
    network(sequence)[:, -1].square().sum().backward()
    assert sequence.grad[:, :, 0].abs().max() > 0
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def moving_edges(directions, frames=8, blank=6):
    """An edge that wanders to the right or the left, then stillness."""
    clips = torch.zeros(len(directions), 1, frames + blank, 32, 32)
    for n, direction in enumerate(directions):
        for t in range(frames):
            clips[n, 0, t, :, (16 + (2 * direction - 1) * 2 * t) % 32] = 1.0
            clips[n, 0, t, :, (16 + (2 * direction - 1) * (2 * t - 1)) % 32] = -1.0
    return clips


def test_it_learns_a_direction_and_holds_it_through_stillness():
    network = build('stream', **{**SMALL, 'outputs': 2, 'dropout': 0.0}).train()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    directions = torch.tensor([0, 1] * 4)
    sequence = moving_edges(directions)
    for _ in range(50):
        elsewhere = sequence.roll(int(torch.randint(32, ())), 4)
        logits = network(elsewhere)[:, 6:]
        truth = directions.repeat_interleave(logits.shape[1])
        loss = F.cross_entropy(logits.flatten(0, 1), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # as it is while training: so few steps leave normalisation behind
    assert logits[:, -1].argmax(1).tolist() == directions.tolist()
    assert loss < 0.5
