import copy
import gc
import weakref

import pytest

pytest.importorskip('torch')
import torch

from training.models import build

NAMES = ('r2plus1d', 'cnn_lstm', 'transformer', 'spiking')
SMALL = {'outputs': 5, 'width': 0.125, 'frames': 8, 'size': 32}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(5)


@pytest.fixture(params=NAMES)
def network(request):
    if request.param == 'spiking':
        pytest.importorskip('snntorch')
    return build(request.param, **SMALL)


def warmed(network, clips):
    """With the statistics of clips: a spiking network that has seen nothing is silent."""
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    network.train()(clips)
    return network.eval()


def test_a_clip_is_answered_the_same_whatever_stands_beside_it(network):
    clips = torch.randn(3, 1, 8, 32, 32)
    together = warmed(network, clips)(clips)
    alone = torch.cat([network(clip[None]) for clip in clips])
    assert together.shape == (3, 5)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    'clip', [torch.zeros(1, 1, 7, 32, 32), torch.zeros(1, 1, 8, 32, 32, dtype=torch.uint8)]
)
def test_clip_of_wrong_length_or_type_is_refused(network, clip):
    with pytest.raises(ValueError, match=network.name + ' reads'):
        network(clip)


def test_order_in_time_matters(network):
    clip = torch.randn(2, 1, 8, 32, 32)
    with torch.no_grad():
        forwards, backwards = warmed(network, clip)(clip), network(clip.flip(2))
    assert (forwards - backwards).abs().max() > 1e-6


def test_every_parameter_learns(network):
    network.train()(2 * torch.randn(4, 1, 8, 32, 32)).square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None]
    assert idle == []


def test_a_network_that_has_answered_can_be_copied(network):
    clip = torch.randn(2, 1, 8, 32, 32)
    answer = network.eval()(clip)
    torch.testing.assert_close(copy.deepcopy(network)(clip), answer)


def spikes(threshold=1.0):
    pytest.importorskip('snntorch')
    from training.models.spiking import Spikes, SpikingSettings

    return Spikes(SpikingSettings(threshold=threshold))


def test_neuron_integrates_fires_and_starts_again_from_zero():
    current = torch.tensor([0.6, 0.6, 0.6, 1.5, -1.0, 2.5]).reshape(1, 6, 1)
    # membrane: .6, 1.2 fires, .6, 2.1 fires, -1, 1.5 fires
    assert spikes()(current).flatten().tolist() == [0, 1, 0, 1, 0, 1]


def test_neuron_forgets_between_clips():
    layer = spikes()
    current = torch.full((1, 3, 2), 0.4)
    assert torch.equal(layer(current), layer(current))


def test_gradient_of_a_spike_is_the_arctangent_surrogate():
    current = torch.tensor([[[0.3]]], requires_grad=True)
    spikes()(current).sum().backward()
    slope = 1 / (1 + (torch.pi * (0.3 - 1)) ** 2)  # alpha / 2 / (1 + (pi alpha u / 2)^2), alpha 2
    assert current.grad.item() == pytest.approx(slope, rel=1e-5)


def test_spiking_network_is_freed():
    pytest.importorskip('snntorch')
    network = build('spiking', **SMALL)
    gone = weakref.ref(network.features[1].neuron)
    del network
    gc.collect()
    assert gone() is None


def test_spiking_network_sees_polarity():
    pytest.importorskip('snntorch')
    clip = torch.rand(2, 1, 8, 32, 32)
    with torch.no_grad():
        network = warmed(build('spiking', **SMALL), clip)
        assert not torch.equal(network(clip), network(-clip))
