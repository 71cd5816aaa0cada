import pytest

pytest.importorskip('torch')
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from training.models import C3D, CS3D, C3DSettings, CS3DSettings, build
from training.models.c3d import Pool, scaled_plan
from training.models.counter import ABLATION, count
from training.models.cs3d import C3D_SETTINGS, Attention, Block, MaxPool
from training.models.ssn import SSN

SMALL = {'width': 0.125, 'frames': 16, 'size': 32}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(5)


def flops(network, frames, size):
    with torch.device('meta'), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.to('meta').eval()(torch.zeros(1, 1, frames, size, size, device='meta'))
    return counter.get_total_flops()


def test_c3d_costs_what_the_literature_says():
    cost = count(C3D_SETTINGS)
    assert round(cost.macs / 1e9, 3) == 37.853
    assert round(cost.convolution_macs / 1e9, 3) == 37.803
    assert round(cost.parameters / 1e6, 3) == 78.021


def test_cs3d_costs_what_the_block_says():
    cost = count(CS3DSettings(attention=False))
    assert round(cost.convolution_macs / 1e9, 3) == 1.478
    assert round(cost.macs / 1e9, 3) == 1.529
    assert round(cost.parameters / 1e6, 3) == 51.427


def test_layers_of_c3d_and_cs3d_cost_their_share():
    c3d = [round(layer.macs / 1e9, 3) for layer in count(C3D_SETTINGS).layers[:8]]
    cs3d = [
        round(layer.macs / 1e9, 3) for layer in count(CS3DSettings(attention=False)).layers[:8]
    ]
    assert c3d == [0.347, 11.098, 5.549, 11.098, 2.775, 5.549, 0.694, 0.694]
    assert cs3d == [0.015, 0.450, 0.215, 0.430, 0.105, 0.210, 0.026, 0.026]


@pytest.mark.parametrize(
    'settings',
    [s for _, s in ABLATION]
    + [
        CS3DSettings(outputs=8, width=0.25, head='gap', stem_filters=8, stem_stride=2),
        CS3DSettings(width=0.25, stem_filters=2, stem_stride=2),
    ],
)
def test_counter_agrees_with_torch(settings):
    with torch.device('meta'):
        network = CS3D(settings)
    cost = count(settings)
    assert 2 * cost.macs == flops(network, settings.frames, settings.size)
    parameters = sum(p.numel() for p in network.parameters())
    assert cost.parameters + cost.norm_parameters == parameters


def test_c3d_module_is_the_c3d_that_is_counted():
    with torch.device('meta'):
        network = C3D()
    cost = count(C3D_SETTINGS)
    assert sum(p.numel() for p in network.parameters()) == cost.parameters
    assert flops(network, 16, 112) == 2 * cost.macs


def test_cs3d_with_all_switches_off_is_c3d():
    c3d = C3D(C3DSettings(outputs=8, **SMALL)).eval()
    cs3d = CS3D(
        CS3DSettings(
            outputs=8, ssn=False, factorised=False, attention=False, norm=False, head='fc', **SMALL
        )
    ).eval()
    cs3d.load_state_dict(dict(zip(cs3d.state_dict(), c3d.state_dict().values())))
    clip = torch.randn(2, 1, 16, 32, 32)
    torch.testing.assert_close(cs3d(clip), c3d(clip), atol=1e-6, rtol=1e-5)


def block_by_conv3d(block, x):
    """The definition: 3-D convolutions, then norm, residual, activation, 3-D pooling."""
    y = x
    for layer in block.conv:
        weight = layer.weight
        if layer.kernel_size == (3, 1):
            y = F.conv3d(y, weight[..., None], layer.bias, padding=(1, 0, 0), groups=layer.groups)
        elif layer.kernel_size == (3, 3):
            y = F.conv3d(
                y,
                weight[:, :, None],
                layer.bias,
                stride=(1, *layer.stride),
                padding=(0, 1, 1),
                groups=layer.groups,
            )
        else:
            y = F.conv3d(y, weight[..., None], layer.bias)
    norm = block.norm
    y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    y = y + x if block.residual else y
    y = torch.where(y > 0.25, y, torch.zeros(()))
    time, space, padding = block.pool.pool
    return F.max_pool3d(y, (time, space, space), padding=(0, padding, padding))


@pytest.mark.parametrize('channels, out, first', [(1, 16, False), (1, 16, True), (16, 16, False)])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last_3d])
def test_block_of_2d_operators_equals_the_3d_definition(channels, out, first, layout):
    settings = CS3DSettings(stem_filters=4, stem_stride=2)
    block = Block(channels, out, settings, Pool(2, 2, 1), first).eval()
    torch.nn.init.uniform_(block.norm.running_mean, -1, 1)
    torch.nn.init.uniform_(block.norm.running_var, 0.5, 2)
    x = torch.randn(2, channels, 8, 14, 14).to(memory_format=layout)
    torch.testing.assert_close(block(x), block_by_conv3d(block, x), atol=1e-5, rtol=1e-5)


def test_layout_of_memory_does_not_change_the_answer():
    network = CS3D(CS3DSettings(head='gap', **SMALL)).eval()
    clip = torch.randn(2, 1, 16, 32, 32)
    other = network.to(memory_format=torch.channels_last)(clip)
    torch.testing.assert_close(network(clip), other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('pool', [Pool(1, 2, 0), Pool(2, 2, 0), Pool(2, 2, 1)])
def test_pooling_in_two_steps_is_3d_pooling(pool):
    x = torch.randn(2, 3, 8, 14, 14)
    kernel = (pool.time, pool.space, pool.space)
    expected = F.max_pool3d(x, kernel, padding=(0, pool.padding, pool.padding))
    torch.testing.assert_close(MaxPool(pool)(x), expected)


def test_neuron_passes_only_what_exceeds_its_threshold():
    x = torch.tensor([-1.0, 0.0, 0.25, 0.2501, 2.0])
    assert SSN(0.25, 4.0)(x).tolist() == pytest.approx([0, 0, 0, 0.2501, 2.0])


def test_gradient_of_the_neuron_is_the_sigmoid_of_the_paper():
    x = torch.linspace(-2, 2, 9, requires_grad=True)
    SSN(0.25, 4.0)(x).backward(torch.full((9,), 3.0))
    torch.testing.assert_close(x.grad, 3 * torch.sigmoid(4 * (x.detach() - 0.25)))


def test_attention_weighs_time_before_space_and_adds_its_input():
    attention = Attention(8).eval()
    x = torch.randn(2, 8, 4, 6, 6)
    pooled = [x.mean((3, 4)), x.amax((3, 4))]  # (N, C, T)
    squeeze, excite = attention.squeeze, attention.excite
    shared = [
        F.conv1d(
            F.relu(F.conv1d(p, squeeze.weight[..., 0], squeeze.bias, padding=1)),
            excite.weight[..., 0],
            excite.bias,
        )
        for p in pooled
    ]
    timed = x * torch.sigmoid(torch.maximum(*shared))[..., None, None]
    weight = torch.cat([attention.place_mean.weight, attention.place_max.weight], 1)
    pair = torch.stack([timed.mean(1), timed.amax(1)], 2)  # (N, T, 2, H, W)
    place = F.conv2d(pair.flatten(0, 1), weight, attention.place_mean.bias, padding=3)
    expected = timed * torch.sigmoid(place).reshape(2, 1, 4, 6, 6) + x
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


def test_residual_stands_where_channels_are_equal():
    network = CS3D(CS3DSettings(head='gap'))
    residual = [layer.residual for layer in network.features if isinstance(layer, Block)]
    assert residual == [False, False, False, True, False, True, True, True]


def test_shift_in_time_shifts_the_first_block():
    block = Block(1, 8, CS3DSettings(norm=False)).eval()
    x = torch.zeros(1, 1, 12, 8, 8)
    x[:, :, 4, 3, 3] = 5.0
    torch.testing.assert_close(block(x)[:, :, 3:6], block(x.roll(2, 2))[:, :, 5:8])


@pytest.mark.parametrize(
    'fault', [{'head': 'pool'}, {'stem_stride': 3}, {'stem_filters': 8, 'factorised': False}]
)
def test_settings_that_no_network_can_have_are_refused(fault):
    with pytest.raises(ValueError, match='must be|need'):
        CS3DSettings(**fault)


def test_widths_are_multiples_of_eight():
    assert [s.channels for s in scaled_plan(0.2)] == [
        (16,),
        (24,),
        (48, 48),
        (104, 104),
        (104, 104),
    ]
    with pytest.raises(ValueError, match='width'):
        CS3DSettings(width=0)


def test_a_stream_answers_frame_by_frame_as_on_the_whole_sequence():
    network = build('stream', width=0.125, size=32).eval()
    sequence = torch.randn(2, 1, 9, 32, 32)
    state, answers = network.initial_state(2), []
    for t in range(9):
        logits, state = network.step(sequence[:, :, t], state)
        answers.append(logits)
    torch.testing.assert_close(torch.stack(answers, 1), network(sequence), atol=1e-5, rtol=0)
