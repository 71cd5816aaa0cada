import os
import sys

import pytest
from inference.tiny_onnx import write_tiny_bundle, write_tiny_stream

from cs3d_ros.cli import bench, main
from cs3d_ros.inference import SHIPPED_BUNDLE, OnnxRuntimeEngine
from cs3d_ros.inference.machines import HERE, MACHINES
from cs3d_ros.power import PowerError, RunEnergy

SHORT = ['--seconds', '0.01', '--threads', '1']
STREAM = SHIPPED_BUNDLE.replace('cs3d.onnx', 'cs3d_stream.onnx')


@pytest.mark.parametrize('write', [write_tiny_bundle, write_tiny_stream])
def test_bench_measures_any_bundle(tmp_path, capsys, write):
    assert main(['bench', write(tmp_path / 'tiny.onnx')] + SHORT) == 0
    described, machine, measured = capsys.readouterr().out.splitlines()
    assert described.startswith('tiny.onnx: a ')
    assert 'Python {}.{}'.format(*sys.version_info) in machine
    assert '1 thread' in machine
    assert measured.startswith('measured here: ') and ' ms, median of ' in measured


def test_bench_tells_why_another_backend_had_to_take_over(monkeypatch, capsys):
    def open_engine(path, threads, *_):
        engine = OnnxRuntimeEngine(path, threads)
        engine.fault = 'ONNX Runtime runs, as TensorRT fails: no memory is left'
        return engine

    monkeypatch.setattr(bench, 'open_engine', open_engine)
    assert main(['bench', SHIPPED_BUNDLE] + SHORT) == 0
    said = capsys.readouterr().err
    assert said == 'cs3d: ONNX Runtime runs, as TensorRT fails: no memory is left\n'


def test_without_a_bundle_the_shipped_one_is_measured(capsys):
    assert main(['bench'] + SHORT) == 0
    assert capsys.readouterr().out.startswith('cs3d.onnx: a clip of 16 frames')


@pytest.mark.parametrize('path, reads', [(SHIPPED_BUNDLE, '16 frames'), (STREAM, 'a frame')])
def test_bench_predicts_for_every_machine(capsys, path, reads):
    assert main(['bench', path, '--roofline'] + list(MACHINES) + SHORT) == 0
    lines = capsys.readouterr().out.splitlines()
    assert reads in lines[0] and 'M multiply-adds' in lines[0]
    assert 'not measured' in lines[4]
    rows = lines[6:]
    assert [row[:28].strip() for row in rows] == [m.title for m in MACHINES.values()]
    for row in rows:
        total, arithmetic, memory, launches, _ = map(float, row[28:].split())
        assert total == pytest.approx(arithmetic + memory + launches, abs=0.03)
        assert total > launches > 0


def test_bench_holds_the_prediction_against_this_processor(monkeypatch, capsys):
    fake = MACHINES['nano']._replace(flops=1e9, bytes_per_s=2e9, launch_s=1e-6, power_w=None)
    monkeypatch.setattr(bench, 'measure_here', lambda threads: fake)
    assert main(['bench', SHIPPED_BUNDLE, '--roofline', HERE] + SHORT) == 0
    row, peaks = capsys.readouterr().out.splitlines()[-2:]
    assert row.split()[0] == HERE and row.split()[-1] == '-'
    assert peaks.startswith('  1 GFLOP/s, 2 GB/s, 1.00 us an operator; measured here is ')


def test_energy_is_told_with_the_rails_that_it_is_of(monkeypatch, capsys):
    asked = []

    def measure(run, seconds):
        run()
        asked.append(seconds)
        return RunEnergy(0.0123, 7.5, 5.0, 100, 1.0, ('ina3221/POM_5V_IN',), None)

    monkeypatch.setattr(bench, 'measure', measure)
    assert main(['bench', SHIPPED_BUNDLE, '--power'] + SHORT) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == (
        'energy: 12.30 mJ an inference above idle, 7.50 W beside 5.00 W, by ina3221/POM_5V_IN'
    )
    assert asked == [0.01]


def test_machine_without_a_meter_has_a_line_that_says_why(monkeypatch, capsys):
    def measure(run, seconds):
        raise PowerError('this machine has no power meter that can be read: buy one')

    monkeypatch.setattr(bench, 'measure', measure)
    assert main(['bench', SHIPPED_BUNDLE, '--power'] + SHORT) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith('energy: not measured, this machine has no power meter')


def test_bundle_without_counts_is_refused_before_time_is_spent(tmp_path, capsys):
    path = write_tiny_bundle(tmp_path / 'old.onnx')
    assert main(['bench', path, '--roofline', 'nano', '--seconds', '3600']) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count('\n')) == ('', 1)
    assert 'training.stamp ' + path in said.err


@pytest.mark.parametrize(
    'option', [['--seconds', '0'], ['--seconds', 'nan'], ['--seconds', 'inf'], ['--threads', '0']]
)
def test_impossible_numbers_are_named(capsys, option):
    assert main(['bench', SHIPPED_BUNDLE] + option) == 1
    assert option[0] + ' must be above 0' in capsys.readouterr().err


def test_unknown_machine_is_refused_with_those_known(capsys):
    with pytest.raises(SystemExit):
        main(['bench', SHIPPED_BUNDLE, '--roofline', 'abacus'])
    said = capsys.readouterr().err
    assert 'abacus' in said and 'orin-nano' in said


def test_bundle_that_is_not_there_is_named(capsys):
    assert main(['bench', os.path.join('nowhere', 'a.onnx')]) == 1
    assert 'a.onnx is not there' in capsys.readouterr().err
