import pytest

pytest.importorskip('torch')
import torch
from torch.nn import functional as F

from training.models import C3D, CS3D, LADDER, C3DSettings, CS3DSettings, build
from training.models.c3d import Pool, scaled_plan
from training.models.cs3d import C3D_SETTINGS, Attention, Block, MaxPool, PointConv
from training.models.network import Conv3d, channels_last, scaled
from training.models.ssn import SSN

SMALL = {'width': 0.125, 'frames': 16, 'size': 32}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(5)


def with_statistics(network):
    """As after a training: normalisation has seen data that was not normal."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


def test_cs3d_with_all_switches_off_is_c3d():
    c3d = C3D(C3DSettings(outputs=8, **SMALL)).eval()
    cs3d = build('cs3d', **{**C3D_SETTINGS.as_dict(), **SMALL, 'outputs': 8}).eval()
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
    y = y * (y > 0.25)
    if isinstance(block.pool, MaxPool):
        time, space, padding = block.pool.pool
        y = F.max_pool3d(y, (time, space, space), padding=(0, padding, padding))
    return y


@pytest.mark.parametrize('channels, out, first', [(1, 16, False), (1, 16, True), (16, 16, False)])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last_3d])
def test_block_of_2d_operators_equals_the_3d_definition(channels, out, first, layout):
    settings = CS3DSettings(stem_filters=4, stem_stride=2)
    block = with_statistics(Block(channels, out, settings, Pool(2, 2, 1), first))
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


def time_attention(attention, x):
    """The definition: shared 1-D convolutions of two poolings, their maximum."""
    squeeze, excite = attention.squeeze, attention.excite
    shared = [
        F.conv1d(
            F.relu(F.conv1d(pooled, squeeze.weight[..., 0], squeeze.bias, padding=1)),
            excite.weight[..., 0],
            excite.bias,
        )
        for pooled in (x.mean((3, 4)), x.amax((3, 4)))  # (N, C, T)
    ]
    return x * torch.sigmoid(torch.maximum(*shared))[..., None, None]


def space_attention(attention, x):
    """The definition: one convolution of two poolings over channels."""
    weight = torch.cat([attention.place_mean.weight, attention.place_max.weight], 1)
    pair = torch.stack([x.mean(1), x.amax(1)], 2)  # (N, T, 2, H, W)
    place = F.conv2d(pair.flatten(0, 1), weight, attention.place_mean.bias, padding=3)
    return x * torch.sigmoid(place).reshape(len(x), 1, x.shape[2], *x.shape[3:])


def test_attention_weighs_time_before_space_and_adds_its_input():
    attention = Attention(8).eval()
    x = torch.randn(2, 8, 4, 6, 6)
    expected = space_attention(attention, time_attention(attention, x)) + x
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


def test_attention_of_space_before_time_would_be_noticed():
    attention = Attention(8).eval()
    x = torch.randn(2, 8, 4, 6, 6)
    swapped = time_attention(attention, space_attention(attention, x)) + x
    assert (attention(x) - swapped).abs().max() > 1e-3


@pytest.mark.parametrize('stem', [{}, {'stem_filters': 4, 'stem_stride': 2}])
def test_cs3d_of_2d_operators_equals_its_3d_definition(stem):
    # in float64, as rounding may tip a neuron over its threshold
    network = with_statistics(build('cs3d', head='gap', **SMALL, **stem).double())
    x = clip = torch.randn(2, 1, 16, 32, 32, dtype=torch.float64)
    for layer in network.features:
        if isinstance(layer, Block):
            x = block_by_conv3d(layer, x)
        else:
            x = space_attention(layer, time_attention(layer, x)) + x
    linear = network.head[-1]
    expected = F.linear(x.mean((2, 3, 4)), linear.weight, linear.bias)
    torch.testing.assert_close(network(clip), expected, atol=1e-5, rtol=0)


def test_residual_stands_where_channels_are_equal():
    network = CS3D(CS3DSettings(head='gap'))
    residual = [layer.residual for layer in network.features if isinstance(layer, Block)]
    assert residual == [False, False, False, True, False, True, True, True]


def poison():
    """Leave nothing but NaN in memory that is free."""
    sizes = [100, 1000, 4000, 10_000, 50_000, 200_000, 1_000_000, 3_000_000]
    freed = [torch.full((size,), torch.nan) for size in sizes for _ in range(3)]
    del freed


@pytest.mark.parametrize('kernel', [(3, 3, 3), (3, 1, 1)])
@pytest.mark.parametrize('frames', [1, 2, 3])
def test_gradient_in_bfloat16_is_that_of_float32_however_few_the_frames(kernel, frames):
    padding = tuple(side // 2 for side in kernel)
    conv = Conv3d(16, 16, kernel, padding=padding, bias=False)
    channels_last(conv)
    clip = torch.randn(8, 16, frames, 3, 3).contiguous(memory_format=torch.channels_last_3d)
    expected = F.conv3d(clip, conv.weight, padding=padding)
    upstream = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, conv.weight, upstream)
    for _ in range(4):
        poison()
        with torch.autocast('cpu', torch.bfloat16):
            answer = conv(clip)
        (found,) = torch.autograd.grad(answer, conv.weight, upstream.to(answer.dtype))
        assert float((found - wanted).abs().max()) < 0.02 * float(wanted.abs().max())
    torch.testing.assert_close(answer.float(), expected, rtol=0.05, atol=0.05)


def test_shift_in_time_shifts_the_first_block():
    block = Block(1, 8, CS3DSettings(norm=False)).eval()
    x = torch.zeros(1, 1, 12, 8, 8)
    x[:, :, 4, 3, 3] = 5.0
    torch.testing.assert_close(block(x)[:, :, 3:6], block(x.roll(2, 2))[:, :, 5:8])


def test_gradient_of_a_learnt_threshold_is_that_of_the_soft_gate():
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)
    upstream = torch.randn(41, dtype=torch.float64)
    neuron = SSN(0.3, 4.0, learn=True).double()
    (neuron(x) * upstream).sum().backward()

    def softened(theta):
        return (upstream * x * torch.sigmoid(4.0 * (x - theta))).sum()

    expected = (softened(0.3 + 1e-6) - softened(0.3 - 1e-6)) / 2e-6
    # 0.3 as the float32 that the parameter began with
    torch.testing.assert_close(neuron.raw_theta.grad, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize('step', [step for step in LADDER if step != 'stream'])
def test_no_step_of_the_ladder_depends_on_how_large_the_weights_of_a_hidden_layer_are(step):
    name, switches = LADDER[step]
    network = build(name, width=0.125, dropout=0.0, theta=0.0, **switches).train()
    torch.manual_seed(0)
    clips = 0.25 * torch.randint(-1, 2, (4, 1, 16, 112, 112))
    mixing = (torch.nn.Conv3d, PointConv, torch.nn.Linear)
    hidden = [layer for layer in network.modules() if isinstance(layer, mixing)][:-1]
    assert len(hidden) == 10  # eight blocks, two layers of the head
    answers = []
    with torch.no_grad():
        for factor in (16, 8):  # at first out of reach of what keeps norms from dividing by 0
            for layer in hidden:
                layer.weight *= factor
                layer.bias *= factor
            answers.append(network(clips))
    torch.testing.assert_close(*answers, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('rate_norm', [False, True])
def test_rate_normalised_network_sees_what_moves_not_how_often_pixels_fire(rate_norm):
    network = with_statistics(build('cs3d', head='gap', rate_norm=rate_norm, ssn=False, **SMALL))
    seldom = torch.randint(-32, 33, (1, 1, 16, 32, 32)).float() / 32
    with torch.inference_mode():
        still, once, twice = (network(k * seldom) for k in (0, 1, 2))
    assert torch.isfinite(still).all()
    apart = float((twice - once).norm() / (once - still).norm())
    assert apart < 0.05 if rate_norm else apart > 0.2


def test_learnt_threshold_is_a_constant_of_its_layer():
    network = build('cs3d', head='gap', learn_theta=True, **SMALL)
    thresholds = {n: p for n, p in network.named_parameters() if n.endswith('theta')}
    assert len(thresholds) == 8
    assert {tuple(p.shape) for p in thresholds.values()} == {()}
    assert {m.theta.item() for m in network.modules() if isinstance(m, SSN)} == {0.25}


def test_learnt_threshold_never_falls_below_zero():
    neuron = SSN(0.1, 4.0, learn=True)
    neuron.raw_theta.data.fill_(-0.2)
    assert neuron(torch.tensor([-0.1, 0.1, 0.3])).tolist() == pytest.approx([0, 0, 0.3])


def test_neuron_does_not_hide_what_is_not_a_number():
    assert SSN(0.25, 4.0)(torch.tensor([float('nan')])).isnan().all()


def test_ladder_is_one_code_and_each_step_one_switch():
    steps = [
        build(name, **settings, **SMALL).settings.as_dict()
        for name, settings in (
            LADDER[step] for step in ('C3D', '+ SSN', '+ factorised', '+ attention')
        )
    ]
    changed = [{key for key in a if a[key] != b[key]} for a, b in zip(steps, steps[1:])]
    assert changed == [{'ssn'}, {'factorised'}, {'attention'}]


@pytest.mark.parametrize(
    'name, fault',
    [
        ('cs3d', {'head': 'pool'}),
        ('cs3d', {'stem_stride': 3}),
        ('cs3d', {'stem_filters': 8, 'factorised': False}),
        ('cs3d', {'width': 0}),
        ('cs3d', {'outputs': 1}),
        ('cs3d', {'outputs': 7.5}),
        ('cs3d', {'theta': -0.1}),
        ('cs3d', {'theta': float('nan')}),
        ('cs3d', {'beta': 0}),
        ('cs3d', {'dropout': 1}),
        ('cs3d', {'frames': 8}),
        ('cs3d', {'learn_theta': True, 'theta': 0}),
        ('cs3d', {'learn_theta': True, 'ssn': False}),
        ('cs3d', {'layers': 3}),
        ('c3d', {'size': 8}),
        ('stream', {'frames': 16}),
        ('stream', {'size': 24}),
        ('stream', {'cell': -1}),
        ('r2plus1d', {'blocks': 0}),
        ('cnn_lstm', {'hidden': 1}),
        ('transformer', {'tubelet_size': 15}),
        ('transformer', {'heads': 3}),
        ('resnet', {}),
    ],
)
def test_settings_that_no_network_can_have_are_refused(name, fault):
    with pytest.raises(ValueError, match='must|need|no setting|no network|leave|divide'):
        build(name, **fault)


@pytest.mark.parametrize('name', ['c3d', 'cs3d', 'stream', 'r2plus1d', 'cnn_lstm', 'transformer'])
@pytest.mark.parametrize(
    'clip',
    [
        torch.zeros(1, 16, 32, 32),
        torch.zeros(0, 1, 16, 32, 32),
        torch.zeros(1, 2, 16, 32, 32),
        torch.zeros(1, 1, 16, 32, 31),
        torch.zeros(1, 1, 0, 32, 32),
        torch.zeros(1, 1, 16, 32, 32, dtype=torch.uint8),
        torch.zeros(1, 1, 16, 32, 32, dtype=torch.float64),
    ],
    ids=lambda clip: '{}-{}'.format(tuple(clip.shape), clip.dtype),
)
def test_input_of_wrong_shape_or_type_is_refused(name, clip):
    network = build(name, **{**SMALL, 'frames': 1 if name == 'stream' else 16})
    with pytest.raises(ValueError, match=name + ' reads'):
        network(clip)


def test_widths_are_multiples_of_eight():
    assert [s.channels for s in scaled_plan(0.2)] == [
        (16,),
        (24,),
        (48, 48),
        (104, 104),
        (104, 104),
    ]


def test_no_width_leaves_less_than_eight_channels():
    assert scaled(64, 1 / 64) == 8
