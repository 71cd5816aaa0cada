"""Machines with a GPU that are not there, see ``fake_cuda`` and ``fake_tensorrt``."""

import sys

import pytest
from fake_cuda import FakeCudart, install
from fake_tensorrt import make_tensorrt
from fake_tensorrt_names import GENERATIONS


class Machine:
    """A machine with a CUDA device, TensorRT of a generation, and a cache of its own."""

    def __init__(self, monkeypatch, cache):
        self._monkeypatch, self.cache = monkeypatch, str(cache)
        self.cuda = self.trt = None

    def become(self, generation, **device):
        """Take another TensorRT or device, by the arguments of FakeCudart; return the machine."""
        self.cuda = FakeCudart(**device)
        self.trt = make_tensorrt(generation, self.cuda)
        for name, module in dict(install(self.cuda), tensorrt=self.trt).items():
            self._monkeypatch.setitem(sys.modules, name, module)
        return self

    def lose(self, name):
        """Have a module no longer."""
        self._monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return a Machine as a Jetson Nano would be: TensorRT 8.2, Tegra X1."""
    return Machine(monkeypatch, tmp_path / 'engines').become('8.2')


@pytest.fixture(params=GENERATIONS)
def any_machine(request, machine):
    """Return a Machine with each generation of TensorRT, on a device that it supports."""
    old = request.param.startswith('8')
    return machine.become(request.param, capability=(5, 3) if old else (8, 7))
