"""CUDA calls through ctypes, on a library made for the test and, where it is, on the real one."""

import ctypes
import ctypes.util
import gc
import shutil
import subprocess
import sys

import numpy as np
import pytest
from fake_cuda import FakeCudart, install

from cs3d_ros.inference import cuda
from cs3d_ros.inference.cuda import Cuda
from cs3d_ros.inference.cudart import open_cudart
from cs3d_ros.inference.engine import BackendError, EngineError

# Device addresses have bits above the 32nd, as an int for a pointer would lose them, and are the
# host's turned around, so that they serve nobody else. Each call that frees is counted.
SOURCE = r"""
#include <stdlib.h>
#include <string.h>
#define TURNED 0x5a00000000000000ull
typedef void *P;
static char *real(P p) { return (char *)((size_t)p ^ TURNED); }
static int live, fault;
int cudaFault(int error) { fault = error; return live; }
int cudaGetDeviceCount(int *n) { *n = 1; return fault; }
int cudaGetDeviceProperties(char *p, int d) { memset(p, 7, 1008); strcpy(p, "Tegra"); return d; }
int cudaDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 5 : a == 76 ? 3 : -1; return d; }
int cudaMalloc(P *p, size_t n) { live++; *p = real(malloc(n)); return fault; }
int cudaFree(P p) { live--; free(real(p)); return 0; }
int cudaMallocHost(P *p, size_t n) { live++; *p = malloc(n); return fault; }
int cudaFreeHost(P p) { live--; free(p); return 0; }
int cudaMemcpyAsync(P to, P from, size_t n, int kind, P stream) {
    if (stream != (P)0x123456789abcull || (kind != 1 && kind != 2)) return 400;
    memcpy(kind == 1 ? real(to) : to, kind == 2 ? real(from) : from, n);
    return fault;
}
int cudaStreamCreate(P *s) { live++; *s = (P)0x123456789abcull; return fault; }
int cudaStreamSynchronize(P s) { return s == (P)0x123456789abcull ? fault : 400; }
int cudaStreamDestroy(P s) { live--; return 0; }
const char *cudaGetErrorName(int e) { return e == 2 ? "cudaErrorMemoryAllocation" : "other"; }
const char *cudaGetErrorString(int e) { return "in words"; }
"""


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    compiler = shutil.which('cc') or shutil.which('gcc')
    if compiler is None:
        pytest.skip('needs a C compiler')
    folder = tmp_path_factory.mktemp('cudart')
    (folder / 'cudart.c').write_text(SOURCE)
    path = str(folder / 'libcudart.so')
    subprocess.check_call([compiler, '-shared', '-fPIC', str(folder / 'cudart.c'), '-o', path])
    return path


@pytest.fixture
def by_ctypes(library, monkeypatch):
    """Return a Cuda over ctypes, and what sets the error of the library, and tells what lives."""
    for name in cuda.BINDINGS:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(cuda, 'open_cudart', lambda name: open_cudart(library))
    control = ctypes.CDLL(library).cudaFault
    control(0)
    return Cuda(), control


def test_device_is_described(by_ctypes):
    assert by_ctypes[0].device == 'Tegra, compute capability 5.3'


def test_what_goes_up_comes_down(by_ctypes):
    device, _ = by_ctypes
    there = device.memory(4000)
    assert there.address > 1 << 32
    sent, got = (
        np.random.default_rng(1).random(1000).astype(np.float32),
        np.zeros(1000, np.float32),
    )
    device.upload(there.address, sent)
    device.download(got, there.address)
    device.synchronize()
    np.testing.assert_array_equal(got, sent)


def test_pinned_memory_is_an_array(by_ctypes):
    pinned = by_ctypes[0].pinned(4 * 12)
    array = pinned.array((3, 4))
    array[:] = 7
    assert (array.shape, array.dtype, array.ctypes.data) == ((3, 4), np.float32, pinned.address)


def test_everything_is_freed(by_ctypes, library, monkeypatch):
    control = by_ctypes[1]
    before = control(0)
    device = Cuda()
    held = device.memory(64), device.pinned(64)
    assert control(0) == before + 3
    del device, held
    gc.collect()
    assert control(0) == before


def test_error_has_its_name_its_words_and_the_cure(by_ctypes):
    device, control = by_ctypes
    control(2)
    expected = (
        r'^CUDA failed in cudaMalloc: cudaErrorMemoryAllocation \(in words\): close other .*$'
    )
    with pytest.raises(EngineError, match=expected):
        device.memory(64)
    control(719)
    with pytest.raises(EngineError, match=r'cudaStreamSynchronize: other .*start this program'):
        device.synchronize()
    control(0)


def test_device_that_does_not_answer_is_no_backend(by_ctypes):
    by_ctypes[1](100)
    with pytest.raises(BackendError, match='no CUDA device answers, .*is there an NVIDIA GPU'):
        Cuda()
    by_ctypes[1](0)


def test_cuda_python_is_preferred(monkeypatch):
    monkeypatch.setattr(cuda, 'open_cudart', None)
    for name, module in install(FakeCudart(name='by cuda-python')).items():
        monkeypatch.setitem(sys.modules, name, module)
    assert Cuda().device == 'by cuda-python, compute capability 5.3'


def test_cuda_python_of_the_old_layout_will_do(monkeypatch):
    modules = install(FakeCudart(name='the old one'))
    monkeypatch.setitem(sys.modules, 'cuda', modules['cuda'])
    monkeypatch.setitem(sys.modules, 'cuda.bindings.runtime', None)
    monkeypatch.setitem(sys.modules, 'cuda.cudart', modules['cuda.bindings.runtime'])
    assert Cuda().device.startswith('the old one')


def test_cuda_python_that_finds_no_driver_is_told(monkeypatch):
    def fail():
        raise RuntimeError('Failed to dlopen libcuda.so.1')

    cudart = FakeCudart()
    cudart.cudaGetDeviceCount = fail  # as that of cuda-python 12.2 does
    for name, module in install(cudart).items():
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(BackendError, match='dlopen libcuda.so.1: is there an NVIDIA GPU'):
        Cuda()


def test_neither_binding_nor_library_is_told_with_the_cure(monkeypatch):
    def nothing(name):
        raise OSError(name)

    for name in cuda.BINDINGS:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(cuda, 'open_cudart', nothing)
    with pytest.raises(BackendError, match='pip install cuda-python, or .*LD_LIBRARY_PATH'):
        Cuda()


def test_library_that_is_another_is_refused():
    with pytest.raises(AttributeError):
        open_cudart(ctypes.util.find_library('m'))


def test_real_library_names_its_errors():
    try:
        real = open_cudart(ctypes.util.find_library('cudart') or 'libcudart.so')
    except OSError:
        pytest.skip('needs libcudart.so, which CUDA brings; a GPU it does not need')
    for error, name in ((2, b'cudaErrorMemoryAllocation'), (35, b'cudaErrorInsufficientDriver')):
        assert real.cudaGetErrorName(error) == (0, name)
        assert len(real.cudaGetErrorString(error)[1]) > 5
