"""
A bundle on an NVIDIA GPU by TensorRT; what a stream remembers stays on the device.

A run puts the frames into pinned memory, from where the device takes them, and fetches the
probabilities. The state of a stream, which is a hundred times as much, goes out as
:class:`DeviceTensor`: an address, and values for whoever asks. Its memory is that of one run until
the caller lets go of it; only then another run writes there. So an older state gives the older
answer, however many runs came in between, and a stream that goes on takes the room of three.
"""

from typing import List, Tuple

import numpy as np

from cs3d_ros.inference import bundle as bundles
from cs3d_ros.inference.cuda import Cuda, Memory
from cs3d_ros.inference.engine import Engine
from cs3d_ros.inference.plans import PlanError
from cs3d_ros.inference.tensorrt_api import LoadedPlan, Tensor

ALIGNMENT = 256  # bytes, of every tensor, as cudaMalloc has it
FLOAT_BYTES = 4


class _State:
    """Memory of the state tensors of one run; it goes back to the pool with this object."""

    def __init__(self, cuda: Cuda, pool: List[Memory], nbytes: int):
        self._cuda, self._pool, self._values = cuda, pool, None
        self.memory = pool.pop() if pool else cuda.memory(nbytes)

    def __del__(self):
        if hasattr(self, 'memory'):  # else the device had none left
            self._pool.append(self.memory)

    def values(self) -> np.ndarray:
        """Return all of it as float32, fetched once: it does not change any more."""
        if self._values is None:
            values = np.empty(self.memory.nbytes // FLOAT_BYTES, np.float32)
            self._cuda.download(values, self.memory.address)
            self._cuda.synchronize()
            values.flags.writeable = False
            self._values = values
        return self._values


class DeviceTensor:
    """
    A float32 tensor on the device; ``np.asarray`` fetches its values.

    Attributes
    ----------
    shape : tuple of int
    dtype : np.dtype
    address : int
    """

    __slots__ = ('shape', 'address', '_state', '_offset')
    dtype = np.dtype(np.float32)

    def __init__(self, state: _State, offset: int, shape: Tuple[int, ...]):
        self.shape = shape
        self.address = state.memory.address + offset
        self._state, self._offset = state, offset

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        first = self._offset // FLOAT_BYTES
        values = self._state.values()[first : first + int(np.prod(self.shape))]
        return np.array(values.reshape(self.shape), dtype or self.dtype)


class TensorRtEngine(Engine):
    """
    A bundle on the first CUDA device by TensorRT.

    Parameters
    ----------
    loaded : LoadedPlan
        The engine that was built of the bundle.
    cuda : Cuda
    bundle : Bundle
    reason : str

    Raises
    ------
    PlanError
        If the engine has other tensors than the bundle.
    EngineError
        If the device has no memory left, or the network fails on stillness.
    """

    backend = 'tensorrt'
    _TENSORS = (np.ndarray, DeviceTensor)

    def __init__(self, loaded: LoadedPlan, cuda: Cuda, bundle: bundles.Bundle, reason: str):
        super().__init__(bundle, reason)
        _check_tensors(loaded, bundle)
        self._loaded, self._cuda = loaded, cuda
        self._input, self._pinned_frames, self._frames = self._window(bundle.input_shape)
        self._output, self._pinned_answer, self._answer = self._window((1, bundle.output_count))
        self._pool = []  # type: List[Memory]
        self._offsets, self._state_bytes = _laid_out(bundle.state_shapes)
        self._initial = self._on_device(self._initial)
        self.run(np.zeros(bundle.input_shape, np.float32))

    def _window(self, shape):
        """Return memory of the device for a tensor, pinned memory, and that as an array."""
        nbytes = int(np.prod(shape)) * FLOAT_BYTES
        pinned = self._cuda.pinned(nbytes)
        return self._cuda.memory(nbytes), pinned, pinned.array(shape)

    def _infer(self, frames, state):
        bundle = self.bundle
        np.copyto(self._frames, frames)
        self._cuda.upload(self._input.address, self._frames)
        before, after = self._on_device(state), self._new_state()
        addresses = {
            bundle.input_name: self._input.address,
            bundles.OUTPUT_NAME: self._output.address,
        }
        for name, past, future in zip(bundle.state, before, after):
            addresses[name], addresses[bundles.NEXT + name] = past.address, future.address
        self._loaded.execute(addresses, self._cuda.stream)
        self._cuda.download(self._answer, self._output.address)
        self._cuda.synchronize()
        return self._answer.copy(), after

    def _new_state(self):
        """Return the tensors of a state that nobody holds."""
        if not self.bundle.state:
            return ()
        state = _State(self._cuda, self._pool, self._state_bytes)
        return tuple(
            DeviceTensor(state, offset, shape)
            for offset, shape in zip(self._offsets, self.bundle.state_shapes)
        )

    def _on_device(self, state):
        """Return a state whose arrays, if it has any, were uploaded."""
        if all(isinstance(tensor, DeviceTensor) for tensor in state):
            return state
        arrays = [np.ascontiguousarray(tensor) for tensor in state]
        uploaded = self._new_state()
        for tensor, array in zip(uploaded, arrays):
            self._cuda.upload(tensor.address, array)
        self._cuda.synchronize()  # the arrays may go
        return uploaded


def _laid_out(shapes):
    """Return the offsets of tensors one behind the other, and where the last one ends; bytes."""
    offsets, end = [], 0
    for shape in shapes:
        offsets.append(end)
        nbytes = int(np.prod(shape)) * FLOAT_BYTES
        end += -(-nbytes // ALIGNMENT) * ALIGNMENT
    return offsets, end


def _check_tensors(loaded, bundle):
    shapes = list(zip(bundle.state, bundle.state_shapes))
    promised = {bundle.input_name: Tensor(bundle.input_shape, True, True)}
    promised[bundles.OUTPUT_NAME] = Tensor((1, bundle.output_count), True, False)
    promised.update((name, Tensor(shape, True, True)) for name, shape in shapes)
    promised.update((bundles.NEXT + name, Tensor(shape, True, False)) for name, shape in shapes)
    if loaded.tensors != promised:
        raise PlanError(
            'the engine has the tensors {}, and {} promises {}'.format(
                sorted(loaded.tensors), bundle.path, sorted(promised)
            )
        )
