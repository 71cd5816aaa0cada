import numpy as np
import onnxruntime
import pytest

from cs3d_ros import Cs3dError
from cs3d_ros.inference import peaks


def answer_of(kind, array, count):
    session = peaks._session(peaks._chain(kind, array.shape, count), 1)
    return float(np.squeeze(session.run(None, {'x': array})[0]))


@pytest.mark.parametrize('count, largest', [(1, -2.0), (2, 5.0), (3, -2.0)])
def test_chain_runs_as_many_operators_as_it_says(count, largest):
    assert answer_of('Neg', np.float32([2.0, 5.0]), count) == largest


def test_chain_of_products_multiplies():
    matrix = np.float32([[1, 1], [0, 2]])
    assert answer_of('MatMul', matrix, 3) == np.linalg.matrix_power(matrix, 4).max()


def test_products_that_the_runtime_cannot_take_are_not_timed():
    with pytest.raises(Exception, match='(?i)dim|shape'):
        answer_of('MatMul', np.zeros((2, 3), np.float32), 1)


@pytest.mark.parametrize('threads', [1, 2])
def test_peaks_are_those_of_a_machine(monkeypatch, threads):
    monkeypatch.setattr(peaks, 'PROBE_S', 0.3)
    here = peaks.measure_here(threads)
    assert '{} thread'.format(threads) in here.title
    assert 1e8 < here.flops < 1e14
    assert 1e8 < here.bytes_per_s < 1e13
    assert 1e-9 < here.launch_s < 1e-3
    assert (here.value_bytes, here.power_w) == (4, None)


def test_product_that_is_known_to_be_slow_shows(monkeypatch):
    """A runtime that sleeps a millisecond in each product has its rate told."""
    monkeypatch.setattr(peaks, 'PROBE_S', 0.2)

    class Chain:
        def __init__(self, model, *_):
            self.count = model.count(b'MatMul')

        def run(self, *_):
            peaks.time.sleep(0.005 * self.count)

    monkeypatch.setattr(peaks, '_session', Chain)
    took_s = peaks._operator_s('MatMul', (8, 8), 3, 1)
    assert took_s == pytest.approx(0.005, rel=0.3)


@pytest.mark.parametrize('disturbed', [4, None])
def test_machine_that_is_busy_at_first_is_waited_for_and_no_longer(monkeypatch, disturbed):
    monkeypatch.setattr(peaks, 'PROBE_S', 0.1)

    class Chain:
        def __init__(self, model, *_):
            self.is_short = model.count(b'MatMul') == 1
            self.runs = 0

        def run(self, *_):
            self.runs += 1
            is_disturbed = disturbed is None or self.runs <= disturbed
            own_s = 0.03 if is_disturbed else 0.001
            peaks.time.sleep(own_s if self.is_short else 0.011)

    monkeypatch.setattr(peaks, '_session', Chain)
    if disturbed is None:
        with pytest.raises(Cs3dError, match='too busy .* 3 operators took no longer than one'):
            peaks._operator_s('MatMul', (8, 8), 3, 1)
    else:
        assert peaks._operator_s('MatMul', (8, 8), 3, 1) == pytest.approx(0.005, rel=0.3)


def test_probes_are_run_by_the_runtime_that_runs_bundles():
    assert isinstance(
        peaks._session(peaks._chain('Neg', (1,), 1), 1), onnxruntime.InferenceSession
    )
