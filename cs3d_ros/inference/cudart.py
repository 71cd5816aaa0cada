"""
CUDA's runtime library through ctypes, with the functions and manners of cuda-python.

A function returns a tuple, the error first, as those of ``cuda.bindings.runtime`` do. This stands
in where that is not installed: NVIDIA has none for JetPack 4, while the library itself is on every
Jetson Nano, as TensorRT needs it. The other way there, pycuda, has to be compiled on the board.
"""

import ctypes
from types import SimpleNamespace

_POINTER, _SIZE, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


class _Properties(ctypes.Structure):
    """Of cudaDeviceProp what is the same in every version; 1,008 bytes of it in CUDA 13."""

    _fields_ = (('name', ctypes.c_char * 256), ('rest', ctypes.c_char * 3840))


# Name, type of the result that the first argument points to, types of the other arguments.
# Source: cuda_runtime_api.h of CUDA 10.2 to 13.
_FUNCTIONS = (
    ('cudaGetDeviceCount', _INT),
    ('cudaGetDeviceProperties', _Properties, _INT),
    ('cudaDeviceGetAttribute', _INT, _INT, _INT),
    ('cudaMalloc', _POINTER, _SIZE),
    ('cudaFree', None, _POINTER),
    ('cudaMallocHost', _POINTER, _SIZE),
    ('cudaFreeHost', None, _POINTER),
    ('cudaMemcpyAsync', None, _POINTER, _POINTER, _SIZE, _INT, _POINTER),
    ('cudaStreamCreate', _POINTER),
    ('cudaStreamSynchronize', None, _POINTER),
    ('cudaStreamDestroy', None, _POINTER),
)


def open_cudart(name: str) -> SimpleNamespace:
    """
    Return the functions and constants of the library that an engine needs.

    Raises
    ------
    OSError
        If there is no such library.
    AttributeError
        If it is another one.
    """
    library = ctypes.CDLL(name)
    functions = {row[0]: _function(library, *row) for row in _FUNCTIONS}
    for text in ('cudaGetErrorName', 'cudaGetErrorString'):
        functions[text] = _describing(getattr(library, text))
    return SimpleNamespace(
        cudaMemcpyKind=SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2),
        cudaDeviceAttr=SimpleNamespace(
            cudaDevAttrComputeCapabilityMajor=75, cudaDevAttrComputeCapabilityMinor=76
        ),
        **functions,
    )


def _function(library, name, result, *arguments):
    function = getattr(library, name)
    # without types ctypes would take an address for a C int and lose its upper half
    function.argtypes = ([_POINTER] if result else []) + list(arguments)
    if not result:
        return lambda *values: (function(*values),)

    def made(*values):
        target = result()
        error = function(ctypes.byref(target), *values)
        return error, getattr(target, 'value', target)

    return made


def _describing(function):
    function.argtypes, function.restype = [_INT], ctypes.c_char_p
    return lambda error: (0, function(error))
