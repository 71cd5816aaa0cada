"""
The little of CUDA that an engine needs: a device, its memory, copies in one stream.

Calls go through cuda-python where it is installed (``cuda.bindings.runtime``, once
``cuda.cudart``), as NVIDIA maintains it and it finds its own library; else through
``cs3d_ros.inference.cudart``, which has the same functions.
"""

import ctypes.util
import importlib
from typing import Tuple

import numpy as np

from cs3d_ros.inference.cudart import open_cudart
from cs3d_ros.inference.engine import BackendError, EngineError

DEVICE = 0  # CUDA_VISIBLE_DEVICES chooses which one that is
BINDINGS = ('cuda.bindings.runtime', 'cuda.cudart')
# Where JetPack and NVIDIA's installers put the library, whether ldconfig knows it or not.
USUAL_PLACE = '/usr/local/cuda/lib64/libcudart.so'
OUT_OF_MEMORY = (
    'close other programs that use the GPU; on a Jetson it shares the memory of all programs'
)
NO_GPU = 'is there an NVIDIA GPU, and may this program, or its container, use it?'
# What to do, by the number of the error; numbers from driver_types.h.
CURES = {
    2: OUT_OF_MEMORY,  # cudaErrorMemoryAllocation
    # cudaErrorInsufficientDriver
    35: 'update the driver of the GPU, or install a cuda-python that is no newer than the driver',
    100: NO_GPU,  # cudaErrorNoDevice
}
LOST = 'the device may be lost: start this program again, and look for NVRM or nvgpu in dmesg'


class Memory:
    """
    Memory of the device, or pinned memory of the host, that is freed with this object.

    Attributes
    ----------
    address : int
    nbytes : int
    """

    def __init__(self, address: int, nbytes: int, free):
        self.address, self.nbytes, self._free = address, nbytes, free

    def __del__(self):
        self._free(self.address)  # its error is left alone: the process may be ending

    def array(self, shape: Tuple[int, ...]) -> np.ndarray:
        """Return pinned memory as a float32 array, to be used while this object lives."""
        buffer = (ctypes.c_char * self.nbytes).from_address(self.address)
        return np.frombuffer(buffer, np.float32, int(np.prod(shape))).reshape(shape)


class Cuda:
    """
    The first CUDA device, and one stream on it; copies and runs are done in their order.

    Attributes
    ----------
    device : str
        Name and compute capability, as 'NVIDIA Tegra X1, compute capability 5.3'.
    stream : int
        Handle for TensorRT.

    Raises
    ------
    BackendError
        If neither cuda-python nor the library is there, or no device answers.
    """

    _stream = None

    def __init__(self):
        self._cudart = _find_cudart()
        try:
            self._call('cudaGetDeviceCount')
            self.device = self._describe()
            self._stream = self._call('cudaStreamCreate')
        except EngineError as error:
            raise BackendError('no CUDA device answers, {}'.format(error)) from error
        self.stream = int(self._stream)

    def __del__(self):
        if self._stream is not None:
            self._cudart.cudaStreamDestroy(self._stream)

    def memory(self, nbytes: int) -> Memory:
        """Return memory of the device."""
        return Memory(self._call('cudaMalloc', nbytes), nbytes, self._cudart.cudaFree)

    def pinned(self, nbytes: int) -> Memory:
        """Return memory of the host that the device reads and writes without a copy between."""
        return Memory(self._call('cudaMallocHost', nbytes), nbytes, self._cudart.cudaFreeHost)

    def upload(self, address: int, array: np.ndarray) -> None:
        """Begin to copy a contiguous array to the device; it must live until synchronize."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call('cudaMemcpyAsync', address, array.ctypes.data, array.nbytes, kind, self._stream)

    def download(self, array: np.ndarray, address: int) -> None:
        """Begin to fill a contiguous array from the device; it is full after synchronize."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call('cudaMemcpyAsync', array.ctypes.data, address, array.nbytes, kind, self._stream)

    def synchronize(self) -> None:
        """Wait until all that was begun is done."""
        self._call('cudaStreamSynchronize', self._stream)

    def _call(self, name, *arguments):
        try:
            error, *results = getattr(self._cudart, name)(*arguments)
        except RuntimeError as fault:  # of cuda-python 12.2 without a driver
            raise EngineError('CUDA failed in {}: {}: {}'.format(name, fault, NO_GPU)) from fault
        if int(error):
            raise EngineError(self._explained(name, error))
        return results[0] if results else None

    def _explained(self, name, error):
        texts = (
            function(error)[1].decode()
            for function in (self._cudart.cudaGetErrorName, self._cudart.cudaGetErrorString)
        )
        return 'CUDA failed in {}: {} ({}): {}'.format(name, *texts, CURES.get(int(error), LOST))

    def _describe(self):
        name = self._call('cudaGetDeviceProperties', DEVICE).name
        attributes = self._cudart.cudaDeviceAttr
        capability = [
            self._call('cudaDeviceGetAttribute', attribute, DEVICE)
            for attribute in (
                attributes.cudaDevAttrComputeCapabilityMajor,
                attributes.cudaDevAttrComputeCapabilityMinor,
            )
        ]
        return '{}, compute capability {}.{}'.format(name.split(b'\0')[0].decode(), *capability)


def _find_cudart():
    for name in BINDINGS:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    for name in ('libcudart.so', ctypes.util.find_library('cudart') or '', USUAL_PLACE):
        try:
            return open_cudart(name)
        except (OSError, AttributeError):
            continue
    raise BackendError(
        'neither cuda-python nor libcudart.so is there: pip install cuda-python, or put the '
        'folder of the library into LD_LIBRARY_PATH'
    )
