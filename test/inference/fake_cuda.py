"""
A CUDA device for tests: ``cuda.bindings.runtime`` over memory that the host cannot reach.

Addresses of the device are no addresses of this process, copies happen when the stream is waited
for and not before, and sizes, directions, streams and what was freed are checked. So a copy that
is forgotten, too early or too long is an error or a wrong answer here, too.
"""

import ctypes
import enum
import types

NOWHERE = 0x7FFF_0000_0000_0000  # beyond what Linux gives to programs


Error = enum.IntEnum(
    'Error',
    {
        'cudaSuccess': 0,
        'cudaErrorInvalidValue': 1,
        'cudaErrorMemoryAllocation': 2,
        'cudaErrorNoDevice': 100,
        'cudaErrorUnknown': 999,
    },
)
MemcpyKind = enum.IntEnum('MemcpyKind', {'cudaMemcpyHostToDevice': 1, 'cudaMemcpyDeviceToHost': 2})
DeviceAttr = enum.IntEnum(
    'DeviceAttr',
    {'cudaDevAttrComputeCapabilityMajor': 75, 'cudaDevAttrComputeCapabilityMinor': 76},
)


class Stream:
    def __init__(self, handle):
        self._handle = handle

    def __int__(self):
        return self._handle


class FakeCudart:
    """
    The functions, and what a test may do to the device.

    Attributes
    ----------
    room : int
        Bytes of the device.
    copies : list of (str, int)
        Direction and bytes of each copy that was made.
    is_lost : bool
        Whether the device has fallen off the bus.
    """

    cudaMemcpyKind = MemcpyKind  # noqa: N815, the names of CUDA
    cudaDeviceAttr = DeviceAttr  # noqa: N815

    def __init__(self, name='NVIDIA Tegra X1', capability=(5, 3), room=1 << 28):
        self.name, self.capability, self.room = name, capability, room
        self.is_lost = False
        self.copies = []
        self.device, self.host = {}, {}  # address: memory
        self.streams = {}  # handle: what is to be done
        self._next = NOWHERE

    def used(self):
        return sum(len(memory) for memory in self.device.values())

    def memory_at(self, address, nbytes):
        """Return a writable view of the device's memory; ValueError if it is not allocated."""
        for begin, memory in self.device.items():
            if begin <= address and address + nbytes <= begin + len(memory):
                return memoryview(memory)[address - begin : address - begin + nbytes]
        raise ValueError('{:#x}, {} bytes: not allocated'.format(address, nbytes))

    def enqueue(self, stream, work):
        self.streams[int(stream)].append(work)

    def cudaGetErrorName(self, error):
        return Error.cudaSuccess, Error(error).name.encode()

    def cudaGetErrorString(self, error):
        return Error.cudaSuccess, b'words for ' + Error(error).name.encode()

    def cudaGetDeviceCount(self):
        return (Error.cudaErrorNoDevice, None) if self.is_lost else (Error.cudaSuccess, 1)

    def cudaGetDeviceProperties(self, device):
        name = self.name.encode().ljust(256, b'\0')
        return self._unless_lost(types.SimpleNamespace(name=name))

    def cudaDeviceGetAttribute(self, attribute, device):
        return self._unless_lost(self.capability[DeviceAttr(attribute) - 75])

    def cudaMalloc(self, nbytes):
        if self.used() + nbytes > self.room:
            return Error.cudaErrorMemoryAllocation, None
        self._next += 1 << 24
        self.device[self._next] = bytearray(b'\xff' * nbytes)  # NaN, as nobody zeroes it
        return self._unless_lost(self._next)

    def cudaFree(self, address):
        del self.device[address]
        return self._unless_lost()

    def cudaMallocHost(self, nbytes):
        memory = ctypes.create_string_buffer(b'\xff' * nbytes, nbytes)
        self.host[ctypes.addressof(memory)] = memory
        return self._unless_lost(ctypes.addressof(memory))

    def cudaFreeHost(self, address):
        del self.host[address]
        return self._unless_lost()

    def cudaMemcpyAsync(self, target, source, nbytes, kind, stream):
        up = MemcpyKind(kind) == MemcpyKind.cudaMemcpyHostToDevice
        try:
            view = self.memory_at(target if up else source, nbytes)
        except ValueError:
            return (Error.cudaErrorInvalidValue,)

        def copy():
            self.copies.append(('up' if up else 'down', nbytes))
            if up:
                view[:] = ctypes.string_at(source, nbytes)
            else:
                ctypes.memmove(target, bytes(view), nbytes)

        self.enqueue(stream, copy)
        return self._unless_lost()

    def cudaStreamCreate(self):
        self._next += 1
        self.streams[self._next] = []
        return self._unless_lost(Stream(self._next))

    def cudaStreamSynchronize(self, stream):
        works = self.streams[int(stream)]
        while works and not self.is_lost:
            works.pop(0)()
        return self._unless_lost()

    def cudaStreamDestroy(self, stream):
        del self.streams[int(stream)]
        return self._unless_lost()

    def _unless_lost(self, *result):
        return (Error.cudaErrorUnknown if self.is_lost else Error.cudaSuccess,) + result


def install(cudart):
    """Return the modules that make a fake what cuda-python would be, by their names."""
    return {
        'cuda': types.ModuleType('cuda'),
        'cuda.bindings': types.ModuleType('cuda.bindings'),
        'cuda.bindings.runtime': cudart,
    }
