"""
What the fakes have and lack, compared with the real Python bindings.

    pip download --no-deps -d WHEELS tensorrt-bindings==8.6.1
    pip download --no-deps -d WHEELS tensorrt-cu12-bindings==10.13.0.35
    pip download --no-deps -d WHEELS tensorrt-cu12-bindings==11.4.0.106
    CS3D_TENSORRT_WHEELS=WHEELS python -m pytest test/inference/test_binding_names.py

The wheels, of 1 MB each, are of the Python that runs the tests, and need no GPU: the libraries of
TensorRT, which are not in them, are replaced by empty ones. A TensorRT that is installed is
compared, too.
"""

import glob
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
from fake_cuda import FakeCudart
from fake_tensorrt import names_of
from fake_tensorrt_names import GENERATIONS, VERSIONS

VARIABLE = 'CS3D_TENSORRT_WHEELS'
LIBRARIES = ('nvinfer', 'nvonnxparser', 'nvparsers', 'nvinfer_plugin')
# What the bindings want of those; nothing of it is called at import.
SYMBOLS = """
    createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL
    createNvOnnxParserRefitter_INTERNAL createNvOnnxParser_INTERNAL getBuilderPluginRegistry
    getNvOnnxParserVersion getPluginRegistry initLibNvInferPlugins
    _ZN11nvuffparser15createUffParserEv _ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi
    _ZN14nvcaffeparser117createCaffeParserEv _ZN14nvcaffeparser123shutdownProtobufLibraryEv
""".split()
TELL = """
import importlib, json, sys
module = importlib.import_module(sys.argv[1])
names = {name: dir(getattr(module, name, None)) for name in sys.argv[2:]}
print(json.dumps([module.__version__, dir(module), names]))
"""
# Our code on the real classes; without the libraries no builder can be made, and says so.
USE = """
import sys
import tensorrt_bindings
sys.modules['tensorrt'] = tensorrt_bindings
from cs3d_ros.inference.engine import EngineError
from cs3d_ros.inference.tensorrt_api import TensorRt
from cs3d_ros.inference.tensorrt_build import _creation_flags, _monitor
api = TensorRt()
for name in ('Builder', 'Runtime'):
    try:
        api.make(name)
    except EngineError as error:
        print(error)
monitor = _monitor(api.module)
if monitor:
    monitor.phase_start('phase', None, 2)
    assert monitor.step_complete('phase', 0) is True
    assert monitor.phases == {'phase': (1, 2)}
    monitor.phase_finish('phase')
api._log.log(api.module.ILogger.Severity.WARNING, 'no error')
api._log.log(api.module.ILogger.Severity.INTERNAL_ERROR, 'an error')
print(api.failure('did nothing'))
print(_creation_flags(api.module), monitor is not None)
"""


def told_by(module, environment):
    """Return version and names of a module: '' is the module itself, the others its classes."""
    out = run(TELL, [module] + sorted(set(names_of('8.6')) - {''}), environment)
    version, top, names = json.loads(out)
    return version, dict(names, **{'': top})


def run(code, arguments, environment):
    return subprocess.check_output(
        [sys.executable, '-c', code] + arguments,
        env=dict(os.environ, **environment),
        stderr=subprocess.DEVNULL,
        universal_newlines=True,
    )


def assert_like(generation, real):
    """All that the fakes of any generation know, this one has where the real one has it."""
    known = {}
    for each in GENERATIONS:
        for name, found in names_of(each).items():
            known.setdefault(name, set()).update(found)
    fake = names_of(generation)
    assert fake[''] == known[''] & set(real[''])
    for name in fake['']:
        assert fake[name] == known[name] & set(real[name]), name


@pytest.fixture(params=GENERATIONS[1:])
def unpacked(request, tmp_path):
    """Return a generation, and the environment in which its real bindings can be imported."""
    version = VERSIONS[request.param]
    wheel, compiler = wheel_of(version), shutil.which('cc') or shutil.which('gcc')
    if compiler is None:
        pytest.skip('needs a C compiler')
    source = tmp_path / 'empty.c'
    source.write_text('\n'.join('void *{}(void) {{ return 0; }}'.format(s) for s in SYMBOLS))
    for name in LIBRARIES:
        soname = 'lib{}.so.{}'.format(name, version.split('.')[0])
        subprocess.check_call(
            [compiler, '-shared', '-fPIC', str(source), '-Wl,-soname,' + soname]
            + ['-o', str(tmp_path / soname)]
        )
    with zipfile.ZipFile(wheel) as file:
        file.extractall(str(tmp_path))
    root = pathlib.Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(tmp_path), str(root)])
    return request.param, {'PYTHONPATH': paths, 'LD_LIBRARY_PATH': str(tmp_path)}


def wheel_of(version):
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip('needs a folder of binding wheels in {}, see this file'.format(VARIABLE))
    tag = 'cp{}{}'.format(*sys.version_info[:2])
    found = glob.glob(os.path.join(folder, 'tensorrt*bindings-{}*{}*.whl'.format(version, tag)))
    if not found:
        pytest.skip('{} has no wheel of {} for {}'.format(folder, version, tag))
    return found[0]


def test_fake_has_what_the_wheel_has_and_lacks_what_it_lacks(unpacked):
    generation, environment = unpacked
    version, real = told_by('tensorrt_bindings', environment)
    assert version == VERSIONS[generation]
    assert_like(generation, real)


def test_our_log_and_progress_are_taken_by_the_real_classes(unpacked):
    generation, environment = unpacked
    said = run(USE, [], environment).splitlines()
    assert [line.split(':')[0].split(' ', 2)[2] for line in said[:3]] == [
        'makes no Builder',
        'makes no Runtime',
        'did nothing',
    ]
    assert 'an error' in said[2] and 'no error' not in said[2]
    assert said[3] == {'8.6': '1 False', '10': '1 True', '11': '0 True'}[generation]


def test_fake_is_like_the_tensorrt_that_is_installed():
    try:
        version, real = told_by('tensorrt', {})
    except subprocess.CalledProcessError:
        pytest.skip('TensorRT is not installed')
    generation = version.split('.')[0]
    if generation == '8':
        generation = '8.6' if 'TensorIOMode' in real[''] else '8.2'
    assert_like(generation, real)


@pytest.mark.parametrize('name', ['cuda.bindings.runtime', 'cuda.cudart'])
def test_fake_cuda_has_functions_of_cuda_python_alone(name):
    real = pytest.importorskip(name, reason='cuda-python is not installed')
    own = {name for name in vars(FakeCudart) if name.startswith('cuda')}
    assert own <= set(dir(real))
