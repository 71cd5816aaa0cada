import time

import pytest

pytest.importorskip('torch')
pytest.importorskip('onnx')

from inference.tiny_onnx import write_tiny_bundle
from power.power_trees import BusyMeter

from cs3d_ros.power import PowerSource
from training.experiments.costs import Counters, footprint, measure, time_together
from training.experiments.session import Session
from training.models import build


def test_times_of_a_common_run_are_those_of_the_callables():
    timings = time_together(
        {'slow': lambda: time.sleep(0.02), 'fast': lambda: time.sleep(0.002)}, rounds=3
    )
    assert 20 <= timings['slow'].median <= timings['slow'].worst
    assert timings['fast'].median < timings['slow'].median


def test_joules_are_what_a_run_adds_to_idling():
    meter = BusyMeter()

    def run():
        meter.is_busy = True
        time.sleep(0.05)

    found = Counters([meter]).joules(run, seconds=0.6)
    assert found['idle_w'] == pytest.approx(10.0, rel=0.05)
    assert found['busy_w'] == pytest.approx(30.0, rel=0.2)
    assert found['joules'] >= 0.05 * (found['busy_w'] - found['idle_w'])
    assert found['counters'] == ['fake/board']


def test_machine_without_a_counter_says_so():
    counters = Counters([])
    assert counters.problem.startswith('not measurable here')
    assert counters.joules(lambda: None, 0.1) is None


def test_counter_that_may_not_be_read_tells_the_cure():
    locked = PowerSource(problem='an administrator can allow it')
    assert 'an administrator can allow it' in Counters([locked]).problem


def test_model_is_measured_in_a_process_of_its_own(tmp_path):
    path = write_tiny_bundle(tmp_path / 'tiny.onnx')
    memory = footprint(path)
    assert 10 < memory['before'] <= memory['peak'] < 1000


def test_networks_are_measured_by_name(tmp_path):
    path = write_tiny_bundle(tmp_path / 'tiny.onnx')
    network = build('cs3d', width=1 / 64, head='gap', size=32)
    found = measure(
        {'tiny': {'onnx': path}}, {'tiny': network, 'bare': network}, rounds=2, energy_s=0.1
    )
    assert found['tiny']['onnx_ms']['median'] > 0
    assert found['tiny']['torch_ms']['worst'] >= found['tiny']['torch_ms']['median']
    assert found['tiny']['int8_ms'] is None
    assert found['bare']['onnx_ms'] is None
    assert found['bare']['memory_mb'] is None


def test_stream_goes_on_from_its_state(tmp_path):
    from inference.tiny_onnx import write_tiny_stream

    session = Session(write_tiny_stream(tmp_path / 'stream.onnx'))
    before = {name: value.copy() for name, value in session._feeds.items()}
    session.run()
    assert any((before[name] != value).any() for name, value in session._feeds.items())
