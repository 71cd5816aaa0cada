from pathlib import Path

import pytest

pytest.importorskip('torch')
import torch

from training.models import C3D_SETTINGS, build
from training.models.counter import (
    ADDITION_J,
    MAC_J,
    TABLE,
    activity,
    count,
    main,
    measured_macs,
    sparse_energy_j,
)

SMALL = {'width': 0.25, 'size': 64}
DOCS = Path(__file__).resolve().parents[2] / 'docs' / 'training.md'


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(5)


def cost_of(name):
    kind, settings = TABLE[name]
    if kind == 'spiking':
        pytest.importorskip('snntorch')
    with torch.device('meta'):
        return count(build(kind, **settings))


@pytest.mark.parametrize('name, settings', [('c3d', {}), ('cs3d', C3D_SETTINGS.as_dict())])
def test_c3d_costs_what_the_literature_says(name, settings):
    with torch.device('meta'):
        network = build(name, **settings)
    cost = count(network)
    assert round(cost.macs / 1e9, 3) == 37.853
    assert round(cost.total('macs', 'features') / 1e9, 3) == 37.803
    assert round(cost.parameters / 1e6, 3) == 78.021


def test_cs3d_costs_what_the_block_says():
    cost = cost_of('+ factorised')
    assert round(cost.total('macs', 'features') / 1e9, 3) == 1.478
    assert round(cost.macs / 1e9, 3) == 1.529
    assert round(cost.parameters / 1e6, 3) == 51.427


def test_cs3d_costs_less_than_a_sixteenth_of_c3d():
    assert cost_of('+ attention').macs / cost_of('C3D').macs < 0.06


@pytest.mark.parametrize(
    'step, gmac',
    [
        ('C3D', [0.347, 11.098, 5.549, 11.098, 2.775, 5.549, 0.694, 0.694]),
        ('+ factorised', [0.015, 0.450, 0.215, 0.430, 0.105, 0.210, 0.026, 0.026]),
    ],
)
def test_blocks_cost_their_share(step, gmac):
    cost = cost_of(step)
    blocks = [cost.total('macs', 'features.{}'.format(i)) for i in range(8)]
    assert [round(macs / 1e9, 3) for macs in blocks] == gmac


def small(name, settings):
    if name != 'spiking':
        return build(name, **{**settings, **SMALL})
    pytest.importorskip('snntorch')
    return build(name, frames=3, **SMALL)


@pytest.mark.parametrize('name, settings', TABLE.values(), ids=TABLE)
def test_counted_macs_are_those_that_torch_counts(name, settings):
    network = small(name, settings)
    assert count(network).macs == measured_macs(network) > 0


@pytest.mark.parametrize('name, settings', TABLE.values(), ids=TABLE)
def test_every_parameter_is_counted_once(name, settings):
    network = small(name, settings)
    cost = count(network)
    counted = cost.parameters + cost.norm_parameters
    assert counted == sum(p.numel() for p in network.parameters())


def test_operations_and_bytes_of_a_linear_layer_by_hand():
    cost = count(build('c3d', **SMALL))
    layer = next(layer for layer in cost.layers if layer.name == 'head.7')
    assert (layer.macs, layer.operations) == (1024 * 7, 2 * 1024 * 7)
    assert layer.activation_bytes == 4 * 7


def test_cost_of_a_convolution_by_hand():
    cost = count(build('c3d', **SMALL))
    layer = next(layer for layer in cost.layers if layer.name == 'features.0')
    voxels = 16 * 64 * 64
    assert layer.macs == 27 * 16 * voxels and layer.parameters == 28 * 16
    assert layer.activation_bytes == 4 * 16 * voxels


@pytest.mark.parametrize(
    'name', [name for name, (kind, _) in TABLE.items() if kind in ('cs3d', 'stream')]
)
def test_pointwise_convolution_costs_what_one_of_torch_does(name, monkeypatch):
    def totals():
        cost = count(small(*TABLE[name]))
        return cost.macs, cost.operations, cost.parameters, cost.activation_bytes

    def of_torch(channels, out):
        return torch.nn.Conv3d(channels, out, 1)

    ours = totals()
    monkeypatch.setattr('training.models.cs3d.PointConv', of_torch)
    monkeypatch.setattr('training.models.stream.PointConv', of_torch)
    assert ours == totals()


def test_cost_of_a_pointwise_convolution_by_hand():
    cost = count(small(*TABLE['+ factorised']))
    layer = next(layer for layer in cost.layers if layer.name == 'features.1.conv.2')
    values = 32 * 16 * 32 * 32
    assert (layer.macs, layer.operations) == (16 * values, 2 * 16 * values)
    assert layer.activation_bytes == 4 * values


@pytest.mark.parametrize(
    'name, megabytes',
    [
        ('+ factorised', 205.1),
        ('+ attention', 257.4),
        ('CS3D, pooled head, own stem', 67.0),
        ('CS3D-Stream, per frame', 3.4),
    ],
)
def test_networks_write_so_many_bytes(name, megabytes):
    assert round(cost_of(name).activation_bytes / 1e6, 1) == megabytes


def rows_of_the_docs():
    """Return the numbers of the table in docs/training.md, a list of words for each network."""
    table = DOCS.read_text().partition('| M multiply-adds |')[2].partition('\n\n')[0]
    return [[cell.strip() for cell in row.split('|')[2:-1]] for row in table.splitlines()[2:]]


@pytest.mark.parametrize('name, row', list(zip(TABLE, rows_of_the_docs(), strict=True)), ids=TABLE)
def test_table_of_the_docs_holds_what_is_counted(name, row):
    cost = cost_of(name)
    values = (
        cost.macs / 1e6,
        cost.operations / 1e6,
        cost.parameters / 1e6,
        cost.activation_bytes / 1e6,
        cost.energy_j * 1e3,
    )
    digits = [len(cell.partition('.')[2]) for cell in row]
    assert row == ['{:,.{}f}'.format(value, n) for value, n in zip(values, digits)]


def test_dense_energy_is_that_of_45_nm_silicon():
    assert cost_of('C3D').energy_j == pytest.approx(37_853_360_128 * 4.6e-12)


def test_first_layer_of_a_blank_clip_uses_nothing():
    network = build('cs3d', head='gap', **SMALL).eval()
    busy = activity(network, torch.zeros(1, 1, 16, 64, 64))
    assert busy.used['features.0.conv.0'] == 0
    assert busy.used['head.3'] > 0


def test_silence_is_the_share_below_the_threshold():
    network = build('cs3d', head='gap', theta=5.0, **SMALL)
    silent = activity(network, torch.randn(2, 1, 16, 64, 64)).silent
    assert len(silent) == 8
    assert silent['features.0.activation'] > 0.9


def test_measuring_activity_leaves_the_network_as_it_was():
    network = build('cs3d', head='gap', **SMALL).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    activity(network, torch.randn(2, 1, 16, 64, 64))
    assert network.training and not network.features[0].activation._forward_hooks
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_zeros_save_energy_where_hardware_skips_them():
    network = build('cs3d', head='gap', factorised=False, **SMALL)
    cost, busy = count(network), activity(network, torch.randn(2, 1, 16, 64, 64))
    expected = sum(layer.macs * busy.used.get(layer.name, 1) * MAC_J for layer in cost.layers)
    assert sparse_energy_j(cost, busy) == pytest.approx(expected)
    assert expected < 0.9 * cost.energy_j


def test_spikes_cost_additions():
    pytest.importorskip('snntorch')
    network = build('spiking', frames=3, **SMALL)
    cost = count(network)
    busy = activity(network, torch.randn(1, 1, 3, 64, 64))
    first = 'features.0.0'
    assert first not in busy.spikes and len(busy.spikes) >= 15
    others = sum(
        layer.macs * ADDITION_J * busy.spikes[layer.name]
        for layer in cost.layers
        if layer.name in busy.spikes
    )
    dense = sum(
        layer.macs * MAC_J * busy.used[layer.name]
        for layer in cost.layers
        if layer.macs and layer.name not in busy.spikes
    )
    assert sparse_energy_j(cost, busy) == pytest.approx(others + dense)


def test_command_prints_each_layer_of_a_network(capsys):
    main(['--layers', 'CS3D-Stream, per frame', '--width', '0.125'])
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith('CS3D-Stream, per frame')
    assert any(line.startswith('layers.taps_5b.point ') for line in said)


def test_width_that_no_network_has_is_told(capsys):
    with pytest.raises(SystemExit):
        main(['--width', '99'])
    assert 'error: width must be a number from 0.015625 to 4, got 99' in capsys.readouterr().err
