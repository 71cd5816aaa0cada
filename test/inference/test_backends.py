"""Which backend is taken, and how engines are built, kept and rebuilt; over fakes."""

import os
import re
import sys
import time

import numpy as np
import pytest
from fake_tensorrt_names import GENERATIONS
from tiny_onnx import write_tiny_bundle, write_tiny_stream

from cs3d_ros.inference import EngineError, OnnxRuntimeEngine, open_engine, open_tensorrt
from cs3d_ros.inference.backends import difference
from cs3d_ros.inference.bundle import BundleError
from cs3d_ros.inference.engine import BackendError
from cs3d_ros.inference.plans import Key, cache_folder, digest, write_plan

ORIN = {'name': 'Orin', 'capability': (8, 7)}
TOLD = {'computes': 'fp16', 'build_s': 1.0, 'difference': 0.0}
NANO = {'name': 'NVIDIA Tegra X1', 'capability': (5, 3)}


@pytest.fixture
def path(tmp_path):
    return write_tiny_stream(tmp_path / 'stream.onnx')


class Opener:
    """Opens engines on a machine, counts how often one is built, keeps what was told."""

    def __init__(self, machine):
        self.machine, self.builds, self.told = machine, 0, []

    def __call__(self, path, precision='fp16', backend='tensorrt'):
        def count():
            self.builds += 1

        self.machine.trt.on_build = count
        return open_engine(path, 1, backend, precision, self.machine.cache, self.told.append)


@pytest.fixture
def opener(machine):
    return Opener(machine)


def files_of(machine):
    return sorted(name for name in os.listdir(machine.cache) if not name.endswith('.lock'))


def read(path):
    with open(path, 'rb') as file:
        return file.read()


# Choice


def test_auto_takes_tensorrt_where_it_works(any_machine, path):
    engine = Opener(any_machine)(path, backend='auto')
    assert (engine.backend, engine.fault) == ('tensorrt', '')
    assert engine.reason.startswith('TensorRT {} in fp'.format(any_machine.trt.__version__))
    device = 'NVIDIA Tegra X1, compute capability {}.{}'.format(*any_machine.cuda.capability)
    assert ' on {}, built in 0 s, within '.format(device) in engine.reason


def test_auto_without_tensorrt_takes_onnx_runtime_and_says_why(machine, path):
    machine.lose('tensorrt')
    engine = Opener(machine)(path, backend='auto')
    assert (engine.backend, engine.fault) == ('onnxruntime', '')
    assert engine.reason.startswith('ONNX Runtime ')
    assert 'as TensorRT does not load' in engine.reason


def test_auto_without_a_device_takes_onnx_runtime_and_says_why(machine, path):
    machine.cuda.is_lost = True
    engine = Opener(machine)(path, backend='auto')
    assert (engine.backend, engine.fault) == ('onnxruntime', '')
    assert 'as no CUDA device answers' in engine.reason
    assert 'cudaErrorNoDevice' in engine.reason


@pytest.mark.parametrize(
    'file, told',
    [
        ('tensorrt/notes.txt', 'tensorrt'),
        ('tensorrt/__init__.py', 'tensorrt'),
        ('tensorrt.py', 'tensorrt.py'),
    ],
)
def test_namesake_of_tensorrt_is_none_and_its_path_is_told(
    machine, path, tmp_path, monkeypatch, file, told
):
    workspace = tmp_path / 'ws'
    (workspace / file).parent.mkdir(parents=True)
    (workspace / file).write_text('')
    monkeypatch.delitem(sys.modules, 'tensorrt')
    monkeypatch.setattr(sys, 'path', [str(workspace)])
    engine = Opener(machine)(path, backend='auto')
    assert (engine.backend, engine.fault) == ('onnxruntime', '')
    assert 'as the module tensorrt in {} is not TensorRT'.format(workspace / told) in engine.reason


def test_tensorrt_7_is_none_and_what_it_lacks_is_told(machine, path):
    del machine.trt.Builder.build_serialized_network
    with pytest.raises(BackendError, match='lacks Builder.build_serialized_network: .*JetPack'):
        Opener(machine)(path)


def test_auto_takes_onnx_runtime_where_tensorrt_fails_and_warns(machine, path):
    machine.cuda.room = 1000
    engine = Opener(machine)(path, backend='auto')
    assert engine.backend == 'onnxruntime'
    assert 'as TensorRT fails: ' in engine.fault
    assert 'out of memory: close other programs' in engine.fault
    assert np.isfinite(engine.run(np.zeros((1, 1, 112, 112), np.float32))[0]).all()


def test_onnx_runtime_is_taken_if_asked_for(opener, path):
    engine = opener(path, backend='onnxruntime')
    assert (engine.backend, opener.builds) == ('onnxruntime', 0)
    assert engine.reason.endswith('on the CPU, as asked')


@pytest.mark.parametrize('missing', ['tensorrt', 'device'])
def test_tensorrt_that_is_not_there_is_refused_if_asked_for(machine, path, missing):
    if missing == 'device':
        machine.cuda.is_lost = True
    else:
        machine.lose('tensorrt')
    cure = 'is there an NVIDIA GPU' if missing == 'device' else 'JetPack brings it.*pip install'
    with pytest.raises(EngineError, match=cure):
        Opener(machine)(path)


@pytest.mark.parametrize('backend, precision', [('cuda', 'fp16'), ('auto', 'fp8'), ('', 'fp16')])
def test_unknown_words_are_refused_with_the_known_ones(path, backend, precision):
    with pytest.raises(EngineError, match='is one of .*, got'):
        open_engine(path, backend=backend, precision=precision)


@pytest.mark.parametrize('backend', ['auto', 'tensorrt', 'onnxruntime'])
def test_file_that_is_no_bundle_is_refused_by_every_backend(machine, tmp_path, backend):
    path = write_tiny_bundle(tmp_path / 'a.onnx', metadata=None)
    with pytest.raises(BundleError, match='no bundle'):
        Opener(machine)(path, backend=backend)


# Building


def test_engine_is_built_once_and_told(any_machine, path):
    opener = Opener(any_machine)
    first = opener(path)
    assert 'building an engine of {} by TensorRT'.format(path) in opener.told[0]
    assert 'may take minutes: there is none yet' in opener.told[0]
    assert opener.told[1] == 'the engine was built in 0 s'
    second = opener(path)
    assert (opener.builds, len(opener.told)) == (1, 2)
    assert second.reason == first.reason


def test_name_of_an_engine_tells_what_it_is_good_for(machine, path):
    Opener(machine)(path, 'fp32')
    (name,) = files_of(machine)
    assert name.startswith('stream-')
    assert name.endswith('-fp32-trt8.2.1.8-NVIDIA_Tegra_X1_5.3.engine')


def test_every_precision_has_its_own_engine(machine, path):
    opener = Opener(machine)
    engines = [opener(path, precision) for precision in ('fp16', 'fp32', 'fp16')]
    assert opener.builds == 2
    assert [engine.reason.split()[3] for engine in engines] == ['fp16', 'fp32', 'fp16']


def test_bundle_that_changed_gets_a_new_engine(machine, tmp_path, path):
    opener = Opener(machine)
    opener(path)
    write_tiny_stream(path, keep=0.25)
    engine = opener(path)
    assert opener.builds == 2
    assert difference(engine, OnnxRuntimeEngine(path)) < 1e-3


@pytest.mark.parametrize('generation', GENERATIONS)
def test_progress_is_told_while_it_takes_long(machine, path, monkeypatch, generation):
    monkeypatch.setattr('cs3d_ros.inference.tensorrt_build.TELL_EVERY_S', 0.01)
    machine.become(generation, capability=(8, 7))
    told = []

    def wait_for_a_line():
        count = len(told)
        while len(told) == count:
            time.sleep(0.001)

    machine.trt.on_build = machine.trt.on_step = wait_for_a_line
    open_tensorrt(path, 'fp16', machine.cache, told.append)
    lines = [line for line in told if line.startswith('building the engine for 0 s')]
    assert lines
    steps = [line for line in lines if line.endswith(' s, Tactics: 1 of 2')]
    assert bool(steps) == hasattr(machine.trt, 'IProgressMonitor')


@pytest.mark.parametrize(
    'generation, device, precision, computes',
    [
        ('8.2', NANO, 'fp16', 'fp16'),
        ('8.2', NANO, 'fp32', 'fp32'),
        ('8.6', {'capability': (6, 1)}, 'fp16', 'fp32, as this device is not fast in fp16'),
        ('10', ORIN, 'fp16', 'fp16'),
        ('11', ORIN, 'fp16', 'fp32, as this TensorRT computes in the types of the bundle'),
        ('11', ORIN, 'fp32', 'fp32'),
    ],
)
def test_precision_that_is_computed_in_is_told(
    machine, path, generation, device, precision, computes
):
    machine.become(generation, **device)
    engine = Opener(machine)(path, precision)
    assert ' in {} on '.format(computes) in engine.reason


@pytest.mark.parametrize('generation', GENERATIONS)
def test_fp32_has_all_its_digits(machine, path, generation):
    machine.become(generation, **ORIN)  # which would round to TensorFloat-32 by itself
    frame = np.full((1, 1, 112, 112), 0.3, np.float32)
    exact = OnnxRuntimeEngine(path).run(frame)[0]
    opener = Opener(machine)
    np.testing.assert_array_equal(opener(path, 'fp32').run(frame)[0], exact)
    assert not np.array_equal(opener(path, 'fp16').run(frame)[0], exact)


@pytest.mark.parametrize('generation', GENERATIONS)
def test_int8_of_a_bundle_in_float_is_refused(machine, path, generation):
    machine.become(generation, **ORIN)
    with pytest.raises(EngineError, match='int8 needs a bundle that is quantised.*--int8'):
        Opener(machine)(path, 'int8')


@pytest.fixture
def quantised(tmp_path):
    return write_tiny_bundle(tmp_path / 'int8.onnx', narrow='int8')


@pytest.mark.parametrize('precision', ['int8', 'fp16', 'fp32'])
def test_quantised_bundle_is_refused_on_a_nano(machine, quantised, precision):
    with pytest.raises(EngineError, match='does not compute in int8: take a bundle in float'):
        Opener(machine)(quantised, precision)


@pytest.mark.parametrize('generation', GENERATIONS[1:])
@pytest.mark.parametrize('precision', ['int8', 'fp16'])
def test_quantised_bundle_runs_in_int8_elsewhere(machine, quantised, generation, precision):
    machine.become(generation, **ORIN)
    engine = Opener(machine)(quantised, precision)
    assert ' in int8' in engine.reason
    assert difference(engine, OnnxRuntimeEngine(quantised)) < 0.01


@pytest.mark.parametrize('generation', GENERATIONS)
def test_bundle_of_fp16_runs_in_fp16(machine, tmp_path, generation):
    machine.become(generation, **ORIN)
    path = write_tiny_bundle(tmp_path / 'half.onnx', narrow='fp16')
    engine = Opener(machine)(path, 'fp16')
    assert ' in fp16 on ' in engine.reason
    assert difference(engine, OnnxRuntimeEngine(path)) < 2e-3


def test_engine_that_answers_otherwise_is_refused_and_not_kept(any_machine, path):
    any_machine.trt.distort = lambda result: result * np.float32(1.2)
    with pytest.raises(
        EngineError, match='otherwise than ONNX Runtime, by .* where 0.02 is allowed'
    ):
        Opener(any_machine)(path)
    assert files_of(any_machine) == []


def test_what_tensorrt_said_stands_in_the_error(machine, path):
    machine.cuda.room = 1000
    with pytest.raises(EngineError, match='TensorRT 8.2.1.8 built no engine: Requested') as caught:
        Opener(machine)(path)
    assert 'this is no error' not in str(caught.value)
    assert '\n' not in str(caught.value)


def raiser(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize(
    'error, told',
    [
        (RuntimeError('of the bindings\nand more'), 'of the bindings: backend onnxruntime'),
        (MemoryError(), 'MemoryError: close other programs'),
    ],
)
def test_exception_while_an_engine_is_built_is_told(any_machine, path, error, told):
    any_machine.trt.on_build = raiser(error)
    with pytest.raises(EngineError, match='built no engine: ' + told) as caught:
        open_tensorrt(path, cache=any_machine.cache)
    assert caught.value.__cause__ is error
    assert '\n' not in str(caught.value)


def test_own_error_while_an_engine_is_built_is_raised_as_it_is(machine, path):
    machine.trt.on_build = raiser(EngineError('as it is'))
    with pytest.raises(EngineError, match='^as it is$'):
        open_tensorrt(path, cache=machine.cache)


def test_operator_that_tensorrt_does_not_know_is_told(any_machine, path):
    any_machine.trt.unknown = 'Softmax'
    expected = r'does not read the bundle: No importer registered for op: Softmax: backend onnx\S+'
    with pytest.raises(EngineError, match=expected) as caught:
        Opener(any_machine)(path)
    assert '\n' not in str(caught.value)
    assert Opener(any_machine)(path, backend='auto').backend == 'onnxruntime'


def test_context_without_memory_is_told_with_the_cure(machine, path):
    opener = Opener(machine)
    opener(path)
    machine.cuda.room = machine.cuda.used() + 1000
    with pytest.raises(EngineError, match='cannot run the engine: .*close other programs'):
        opener(path)
    assert opener.builds == 1


def test_device_that_is_gone_while_an_engine_is_built_is_told(any_machine, path):
    opener = Opener(any_machine)

    def lose():
        any_machine.cuda.is_lost = True

    any_machine.trt.on_build = lose
    with pytest.raises(EngineError):
        open_tensorrt(path, 'fp16', any_machine.cache, opener.told.append)
    assert files_of(any_machine) == []


# What lies in the cache


def kept_by(machine):
    """Return the path of the one engine in the cache."""
    (name,) = files_of(machine)
    return os.path.join(machine.cache, name)


@pytest.mark.parametrize(
    'change, why',
    [
        (lambda content: content[:-1], 'is damaged or truncated'),
        (lambda content: content[:100], 'is damaged or truncated'),
        (lambda content: content + b'x', 'is damaged or truncated'),
        (lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], 'is damaged'),
        (lambda content: content.replace(b'fp16', b'fp32'), 'is damaged or truncated'),
        (lambda content: b'', 'was not written by this program'),
        (lambda content: b'\0' * len(content), 'was not written by this program'),
        (lambda content: content.split(b'\n', 2)[2], 'was not written by this program'),
    ],
)
def test_file_that_is_no_engine_is_rebuilt_and_said(opener, path, change, why):
    opener(path)
    kept = kept_by(opener.machine)
    content = read(kept)
    with open(kept, 'wb') as file:
        file.write(change(content))
    assert opener(path).fault == ''
    assert opener.builds == 2
    assert re.search('may take minutes: .*' + why, opener.told[2])
    opener(path)
    assert opener.builds == 2


def key_of(path):
    return Key(digest(read(path)), '8.2.1.8', 'NVIDIA Tegra X1, compute capability 5.3', 'fp16')


@pytest.mark.parametrize(
    'field, value, why',
    [
        ('bundle', digest(b'another'), 'another bundle, .{40}, and this is .{40}$'),
        ('tensorrt', '8.0.1.6', 'another tensorrt, 8.0.1.6, and this is 8.2.1.8'),
        ('device', 'Orin, compute capability 8.7', 'another device, Orin, .* 8.7, and this is NV'),
        ('precision', 'fp32', 'another precision, fp32, and this is fp16'),
    ],
)
def test_engine_that_is_good_for_something_else_is_rebuilt_and_said(
    opener, path, field, value, why
):
    opener(path)
    write_plan(kept_by(opener.machine), key_of(path)._replace(**{field: value}), b'', {})
    opener(path)
    assert opener.builds == 2
    assert re.search('is for ' + why, opener.told[2])


def test_plan_that_tensorrt_refuses_is_rebuilt_and_said(opener, path):
    opener(path)
    write_plan(kept_by(opener.machine), key_of(path), b'of another driver', TOLD)
    opener(path)
    assert opener.builds == 2
    assert 'refuses the engine: Serialization assertion' in opener.told[2]


def test_plan_with_other_tensors_than_the_bundle_is_rebuilt(opener, tmp_path, path):
    opener(path)
    kept = kept_by(opener.machine)
    opener(write_tiny_bundle(tmp_path / 'other.onnx'))
    (other,) = (name for name in files_of(opener.machine) if name.startswith('other'))
    plan = read(os.path.join(opener.machine.cache, other)).split(b'\n', 2)[2]
    write_plan(kept, key_of(path), plan, TOLD)
    opener(path)
    assert opener.builds == 3
    assert "has the tensors ['clip', 'probabilities']" in opener.told[4]


def test_machine_that_changed_builds_anew_and_keeps_the_old_one(machine, path):
    opener = Opener(machine)
    opener(path)
    for generation, device in (('8.6', NANO), ('8.2', ORIN), ('8.2', NANO)):
        machine.become(generation, **device)
        assert opener(path).backend == 'tensorrt'
    assert opener.builds == 3
    assert len(files_of(machine)) == 3


@pytest.mark.parametrize('folder', ['/proc/nowhere', '/dev/null', '/dev/null/engines'])
def test_folder_that_cannot_be_written_is_told_and_the_engine_runs(machine, path, folder):
    machine.cache = folder
    opener = Opener(machine)
    engine = opener(path, backend='auto')
    assert engine.backend == 'tensorrt'
    assert re.search(
        'built anew at every start, as {} cannot be written.*give another folder'.format(folder),
        engine.fault,
    )
    assert engine.reason.endswith('kept nowhere')
    assert np.isfinite(engine.run(np.zeros((1, 1, 112, 112), np.float32))[0]).all()


def test_engine_in_a_folder_that_is_read_only_is_taken(machine, path, monkeypatch):
    opener = Opener(machine)
    opener(path)

    def refuse(path, *_, **__):
        raise PermissionError(30, 'Read-only file system', path)

    monkeypatch.setattr('os.makedirs', refuse)  # root may write everywhere, tests are often root
    assert opener(path).fault == ''
    assert opener.builds == 1


def test_users_own_folder_is_the_default(machine, path, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'own'))
    machine.cache = ''
    opener = Opener(machine)
    opener(path)
    assert os.listdir(str(tmp_path / 'own' / 'cs3d_ros' / 'engines'))
    assert cache_folder() == str(tmp_path / 'own' / 'cs3d_ros' / 'engines')
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert cache_folder() == str(tmp_path / '.cache' / 'cs3d_ros' / 'engines')
