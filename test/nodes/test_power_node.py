"""The power node over a fabricated sysfs tree: watts, joules above idle, what it says."""

import shutil

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from power_trees import cooler, nano_tree, write, zone
from statistics_msgs.msg import MetricsMessage, StatisticDataType

from cs3d_ros.nodes import messages
from cs3d_ros.power import Idle, read_conditions, store_idle

ROI = [0.0, 0.0, 48.0, 48.0]
IDLE_W = 1.2  # the Nano's tree draws 4.2 W
STEADY = (
    StatisticDataType.STATISTICS_DATA_TYPE_AVERAGE,
    StatisticDataType.STATISTICS_DATA_TYPE_MINIMUM,
    StatisticDataType.STATISTICS_DATA_TYPE_MAXIMUM,
)


def points(message):
    return {point.data_type: point.data for point in message.statistics}


def seconds(message):
    start_ns, stop_ns = (
        messages.time_ns(stamp) for stamp in (message.window_start, message.window_stop)
    )
    return (stop_ns - start_ns) * 1e-9


def store(root, path, **changes):
    idle = Idle(
        watts=IDLE_W,
        stddev=0.1,
        seconds=30.0,
        readings=600,
        date='2026-01-02T03:04:05Z',
        basis=('ina3221/POM_5V_IN',),
        rails={},
        conditions=read_conditions(str(root)),
    )
    store_idle(idle._replace(**changes), str(path))


class Inference:
    """Tells its inferences as the inference node does, 15 in each report."""

    def __init__(self, peer):
        self._name = '/{}/inference'.format(peer.namespace)
        self._publisher = peer.node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._inferences = 1000
        self.timer = peer.node.create_timer(0.5, self._tell)

    def _tell(self):
        self._inferences += 15
        values = {'inferences': self._inferences}
        self._publisher.publish(
            messages.diagnostic_message(self._name, messages.OK, 'recognizing', values, 0)
        )


def energies(heard):
    return [message for message in heard if message.metrics_source == 'energy_per_inference']


def test_power_node_without_a_meter_says_so_and_lives(peer, start, tmp_path):
    graph = start(power={'root': str(tmp_path)})
    for _ in range(2):
        peer.wait_status('power', 'this machine has no power meter that can be read', level=1)
    graph.check()


def test_power_of_a_jetson_is_published_per_rail_and_total(peer, start, tmp_path):
    nano_tree(tmp_path)
    heard = peer.listen(MetricsMessage, 'power')
    start(power={'root': str(tmp_path), 'window_s': 0.5})
    peer.wait(lambda: len(heard) >= 8, '/power')
    average = {message.metrics_source: points(message)[STEADY[0]] for message in heard}
    assert average == pytest.approx(
        {
            'ina3221/POM_5V_IN': 4.2,
            'ina3221/POM_5V_GPU': 0.3,
            'ina3221/POM_5V_CPU': 1.5,
            'total': 4.2,
        }
    )
    assert {message.unit for message in heard} == {'W'}
    for message in heard:
        found = points(message)
        assert [found[kind] for kind in STEADY] == pytest.approx([found[STEADY[0]]] * 3)
        assert found[StatisticDataType.STATISTICS_DATA_TYPE_STDDEV] == pytest.approx(0, abs=1e-6)
        # 20 Hz, unless the machine is busy
        assert 1 <= found[StatisticDataType.STATISTICS_DATA_TYPE_SAMPLE_COUNT] <= 11
    assert [seconds(message) for message in heard[4:8]] == pytest.approx([0.5] * 4, rel=0.5)


def test_energy_per_inference_is_that_above_idle_over_the_same_window(peer, start, tmp_path):
    nano_tree(tmp_path)
    store(tmp_path, tmp_path / 'idle.json')
    heard = peer.listen(MetricsMessage, 'power')
    inference = Inference(peer)
    start(power={'root': str(tmp_path), 'idle_file': str(tmp_path / 'idle.json')})
    peer.wait(lambda: len(energies(heard)) >= 3, 'energy per inference')
    inference.timer.cancel()
    for message in energies(heard):
        found = points(message)
        count = found[StatisticDataType.STATISTICS_DATA_TYPE_SAMPLE_COUNT]
        assert message.unit == 'J' and count % 15 == 0
        joules = (4.2 - IDLE_W) * seconds(message)
        assert count * found[STEADY[0]] == pytest.approx(joules, rel=1e-6)
        # of one inference nothing but the mean is known
        assert len(found) == 2
        windows = [
            other for other in heard if other.metrics_source == 'total'
            if (other.window_start, other.window_stop)
            == (message.window_start, message.window_stop)
        ]  # fmt: skip
        assert len(windows) == 1


def test_energy_per_inference_joins_both_nodes(peer, start, tmp_path, bundle, recording):
    nano_tree(tmp_path)
    store(tmp_path, tmp_path / 'idle.json')
    heard = peer.listen(MetricsMessage, 'power')
    start(
        power={'root': str(tmp_path), 'idle_file': str(tmp_path / 'idle.json')},
        preprocessing={'bundle': bundle, 'roi': ROI},
        inference={'bundle': bundle},
        player={'path': recording, 'loop': True},
    )
    peer.wait(lambda: len(energies(heard)) >= 3, 'energy per inference')
    # 3 W over 15 inferences a second where all periods have events: 0.2 J, more where some lack
    assert 0.1 < points(energies(heard)[-1])[STEADY[0]] < 4.0


def test_without_an_idle_power_none_is_published_until_it_is_stored(peer, start, tmp_path):
    nano_tree(tmp_path)
    path = tmp_path / 'state/idle.json'
    heard = peer.listen(MetricsMessage, 'power')
    inference = Inference(peer)
    start(power={'root': str(tmp_path), 'idle_file': str(path)})
    peer.wait_status('power', 'no idle power is stored in {}: run cs3d power'.format(path))
    assert energies(heard) == []
    store(tmp_path, path)
    peer.wait(lambda: energies(heard), 'energy per inference')
    peer.wait(lambda: peer.statuses['power'][-1][1] == 'measuring', 'no more complaint')
    inference.timer.cancel()


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'basis': ('rapl/package-0',)}, 'rails rapl/package-0 there, ina3221/POM_5V_IN now'),
        ({'conditions': read_conditions()._replace(machine='AGX')}, "machine 'AGX' there"),
    ],
)
def test_idle_power_of_other_conditions_is_not_used(peer, start, tmp_path, changes, words):
    nano_tree(tmp_path)
    store(tmp_path, tmp_path / 'idle.json', **changes)
    heard = peer.listen(MetricsMessage, 'power')
    inference = Inference(peer)
    start(power={'root': str(tmp_path), 'idle_file': str(tmp_path / 'idle.json')})
    peer.wait_status('power', words)
    inference.timer.cancel()
    assert energies(heard) == []


def test_change_of_the_power_mode_ends_energy_above_idle(peer, start, tmp_path):
    nano_tree(tmp_path)
    status = write(tmp_path / 'var/lib/nvpmodel', status='pmode:0000')
    store(tmp_path, tmp_path / 'idle.json')
    heard = peer.listen(MetricsMessage, 'power')
    inference = Inference(peer)
    start(power={'root': str(tmp_path), 'idle_file': str(tmp_path / 'idle.json')})
    peer.wait(lambda: energies(heard), 'energy per inference')
    write(status, status='pmode:0001')
    peer.wait_status('power', "nvpmodel '0' there, '1' now")
    inference.timer.cancel()


def test_inferences_that_are_told_too_seldom_are_said(peer, start, tmp_path):
    nano_tree(tmp_path)
    store(tmp_path, tmp_path / 'idle.json')
    inference = Inference(peer)
    inference.timer.timer_period_ns = 1500 * 10**6
    start(
        power={
            'root': str(tmp_path),
            'idle_file': str(tmp_path / 'idle.json'),
            'window_s': 0.5,
        }
    )
    peer.wait_status('power', 'window_s is shorter')
    inference.timer.cancel()


def test_device_that_disappears_is_said_and_its_return_too(peer, start, tmp_path):
    device = nano_tree(tmp_path)
    graph = start(power={'root': str(tmp_path), 'window_s': 0.5})
    peer.wait_status('power', 'measuring', level=0)
    shutil.rmtree(str(device))
    peer.wait_status('power', 'ina3221/POM_5V_IN gives no reading', level=1)
    graph.check()
    nano_tree(tmp_path)
    peer.wait_status('power', 'measuring', level=0)


def test_rail_that_reads_nonsense_is_left_out_and_said(peer, start, tmp_path):
    write(nano_tree(tmp_path), in_power1_input='-300')
    heard = peer.listen(MetricsMessage, 'power')
    start(power={'root': str(tmp_path), 'window_s': 0.5})
    values = peer.wait_status('power', 'ina3221/POM_5V_GPU gives no reading', level=1)
    assert int(values['ina3221/POM_5V_GPU refused']) >= 1
    peer.wait(lambda: len(heard) >= 6, '/power')
    assert {message.metrics_source for message in heard} == {
        'ina3221/POM_5V_IN',
        'ina3221/POM_5V_CPU',
        'total',
    }


def test_heat_and_throttling_are_said(peer, start, tmp_path):
    nano_tree(tmp_path)
    zone(tmp_path, 0, 'CPU-therm', 45500)
    alert = cooler(tmp_path, 0, 'cpu-throttle-alert', 0)
    start(power={'root': str(tmp_path)})
    values = peer.wait_status('power', 'measuring', level=0)
    assert values['CPU-therm C'] == '45.5'
    write(alert, cur_state=1)
    peer.wait_status('power', 'the machine is throttled: cpu-throttle-alert at 1', level=1)
    write(alert, cur_state=0)
    peer.wait_status('power', 'measuring', level=0)
