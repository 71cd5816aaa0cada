"""
TensorRT 8.2, 8.6, 10 and 11 for tests: names and manners of their Python API over ONNX Runtime.

A fake has the classes, methods and constants that the real generation has, of those that an engine
could want, and no others; it really runs the network, on the memory of ``fake_cuda``. What real
builders refuse is refused: a version 8 network that is not of explicit batch, 8.2 without
workspace, int8 and fp16 networks without their flags or without the hardware, plans of another
version or device. Where fp16 or TensorFloat-32 is allowed, outputs are rounded so.

What each generation has stands in ``fake_tensorrt_names``; the words of the errors are from issues
of github.com/NVIDIA/TensorRT.
"""

import ctypes
import enum
import json
import types

import numpy as np
import onnxruntime
from fake_tensorrt_names import ENUMS, LACKS, VERSIONS

CONTEXT_BYTES = 1 << 20  # of a context on the device
HALF_CAST = b'\x0a\x02to\x18\x0a'  # attribute `to` of a Cast, FLOAT16, as protobuf writes it


class ILogger:
    Severity = enum.IntEnum('Severity', 'INTERNAL_ERROR ERROR WARNING INFO VERBOSE', start=0)

    def log(self, severity, msg):
        raise NotImplementedError('a log is to be filled')


class IProgressMonitor:
    def phase_start(self, phase_name, parent_phase, num_steps):
        raise NotImplementedError

    step_complete = phase_finish = phase_start


class _Strict:
    """As bound classes do, it refuses attributes that it does not have."""

    def __setattr__(self, name, value):
        if not name.startswith('_') and not hasattr(type(self), name):
            raise AttributeError('{} has no {}'.format(type(self).__name__, name))
        object.__setattr__(self, name, value)


class Builder(_Strict):
    def __init__(self, logger):
        _demand(logger, ILogger)
        if self._trt.cuda.is_lost:
            logger.log(ILogger.Severity.ERROR, 'CUDA initialization failure with error: 999')
            raise TypeError('pybind11::init(): factory function returned nullptr')
        self._logger = logger

    @property
    def platform_has_fast_fp16(self):
        return self._trt.cuda.capability != (6, 1)

    @property
    def platform_has_fast_int8(self):
        return self._trt.cuda.capability >= (6, 1)

    def create_network(self, flags=0):
        network = self._trt.INetworkDefinition()
        network._flags = flags
        return network

    def create_builder_config(self):
        return self._trt.IBuilderConfig()

    def build_serialized_network(self, network, config):
        self._trt.on_build()
        if getattr(config, 'progress_monitor', None):
            config.progress_monitor.phase_start('Tactics', None, 2)
            if not config.progress_monitor.step_complete('Tactics', 0):
                return None
            self._trt.on_step()
            config.progress_monitor.phase_finish('Tactics')
        fault = self._fault(network, config)
        if fault:
            self._logger.log(ILogger.Severity.WARNING, 'this is no error')
            self._logger.log(ILogger.Severity.ERROR, fault + '\nand more lines')
            return None
        facts = {
            'version': self._trt.__version__,
            'capability': self._trt.cuda.capability,
            'half': 'FP16' in config._flags or network._is_half,
            'tf32': 'TF32' in config._flags and self._trt.cuda.capability >= (8, 0),
        }
        plan = json.dumps(facts).encode() + b'\n' + network._model
        return (ctypes.c_char * len(plan)).from_buffer_copy(plan)  # a buffer and nothing more

    def _fault(self, network, config):
        if config._workspace == 0:
            return 'Could not find any implementation for node conv0 due to insufficient workspace'
        if self._trt.cuda.room - self._trt.cuda.used() < CONTEXT_BYTES:
            return 'Requested amount of GPU memory could not be allocated: out of memory'
        if not hasattr(self._trt.BuilderFlag, 'FP16'):
            return ''
        if network._is_int8 and 'INT8' not in config._flags:
            return 'Quantize layers need the INT8 flag'
        if 'INT8' in config._flags and not self.platform_has_fast_int8:
            return 'Networks with QuantizeLayer/DequantizeLayer layers require hardware with Int8'
        if network._is_half and 'FP16' not in config._flags:
            return 'Half tensors need the FP16 flag'
        return ''


class INetworkDefinition(_Strict):
    _model, _is_int8, _is_half = b'', False, False

    @property
    def num_layers(self):
        return 2

    def get_layer(self, index):
        """The first is a convolution; the second tells what the network computes in."""
        trt = self._trt
        kind = trt.LayerType.QUANTIZE if index and self._is_int8 else trt.LayerType.CONVOLUTION
        half = index and self._is_half
        tensor = types.SimpleNamespace(dtype=trt.DataType.HALF if half else trt.DataType.FLOAT)
        return types.SimpleNamespace(type=kind, get_output=lambda index: tensor)


class IBuilderConfig(_Strict):
    def __init__(self):
        # 8.2 gives no workspace by itself, later ones all that the device has
        self._workspace = 0 if hasattr(type(self), 'max_workspace_size') else 1
        self._flags = {'TF32'}
        self._monitor = None

    def set_flag(self, flag):
        self._flags.add(_demand(flag, self._trt.BuilderFlag).name)

    def clear_flag(self, flag):
        self._flags.discard(_demand(flag, self._trt.BuilderFlag).name)

    def set_memory_pool_limit(self, pool, pool_size):
        _demand(pool, self._trt.MemoryPoolType)
        self._workspace = _demand(pool_size, int)

    @property
    def max_workspace_size(self):
        return self._workspace

    @max_workspace_size.setter
    def max_workspace_size(self, nbytes):
        self._workspace = _demand(nbytes, int)

    @property
    def progress_monitor(self):
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor):
        self._monitor = _demand(monitor, IProgressMonitor)


class OnnxParser(_Strict):
    def __init__(self, network, logger):
        self._network = _demand(network, self._trt.INetworkDefinition)
        self._logger = _demand(logger, ILogger)
        self._errors = []

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return types.SimpleNamespace(desc=lambda: self._errors[index])

    def parse(self, model):
        explicit = getattr(self._trt.NetworkDefinitionCreationFlag, 'EXPLICIT_BATCH', None)
        is_8 = self._trt.__version__.startswith('8')
        if is_8 and not self._network._flags & 1 << explicit:
            self._errors.append('This version of the parser only supports explicit batch networks')
            return False
        if self._trt.unknown.encode() in bytes(model):
            self._errors.append(
                'No importer registered for op: {}\nand more'.format(self._trt.unknown)
            )
            return False
        self._network._model = bytes(model)
        self._network._is_int8 = b'DequantizeLinear' in self._network._model
        self._network._is_half = HALF_CAST in self._network._model
        return True


class Runtime(_Strict):
    def __init__(self, logger):
        self._logger = _demand(logger, ILogger)

    def deserialize_cuda_engine(self, serialized_engine):
        line, _, model = bytes(serialized_engine).partition(b'\n')
        try:
            facts = json.loads(line.decode())
            fault = ''
        except ValueError:
            fault = 'Serialization assertion magicTagRead == kMAGIC_TAG failed.'
        if not fault and facts['version'] != self._trt.__version__:
            fault = 'The engine plan file is not compatible with this version of TensorRT'
        if not fault and tuple(facts['capability']) != self._trt.cuda.capability:
            fault = 'The engine plan file is generated on an incompatible device'
        if fault:
            self._logger.log(ILogger.Severity.ERROR, fault)
            return None
        engine = self._trt.ICudaEngine()
        engine._logger, engine._facts, engine._session = self._logger, facts, _session(model)
        engine._tensors = [(t.name, tuple(t.shape), True) for t in engine._session.get_inputs()]
        engine._tensors += [(t.name, tuple(t.shape), False) for t in engine._session.get_outputs()]
        return engine


class ICudaEngine(_Strict):
    @property
    def num_io_tensors(self):
        return len(self._tensors)

    num_bindings = num_io_tensors

    def get_tensor_name(self, index):
        return self._tensors[index][0]

    get_binding_name = get_tensor_name

    def get_binding_index(self, name):
        return [tensor[0] for tensor in self._tensors].index(name)

    def get_binding_shape(self, index):
        return list(self._tensors[index][1])  # a Dims: no tuple

    def get_binding_dtype(self, index):
        return self._trt.DataType.FLOAT

    def binding_is_input(self, index):
        return self._tensors[index][2]

    def get_tensor_shape(self, name):
        return list(self._named(name)[1])

    def get_tensor_dtype(self, name):
        return self._trt.DataType.FLOAT

    def get_tensor_mode(self, name):
        modes = self._trt.TensorIOMode
        return modes.INPUT if self._named(name)[2] else modes.OUTPUT

    def _named(self, name):
        return next(tensor for tensor in self._tensors if tensor[0] == name)

    def create_execution_context(self):
        if self._trt.cuda.used() + CONTEXT_BYTES > self._trt.cuda.room:
            self._logger.log(ILogger.Severity.ERROR, 'Defaulting: [allocator] out of memory')
            return None
        context = self._trt.IExecutionContext()
        context._engine, context._addresses = self, {}
        return context


class IExecutionContext(_Strict):
    def execute_async_v2(self, bindings, stream_handle):
        names = [tensor[0] for tensor in self._engine._tensors]
        assert len(bindings) == len(names)
        return self._enqueue(dict(zip(names, bindings)), stream_handle)

    def set_tensor_address(self, name, memory):
        self._addresses[self._engine._named(name)[0]] = _demand(memory, int)
        return True

    def execute_async_v3(self, stream_handle):
        return self._enqueue(dict(self._addresses), stream_handle)

    def _enqueue(self, addresses, stream):
        cuda, engine = self._trt.cuda, self._engine
        if cuda.is_lost:
            engine._logger.log(ILogger.Severity.ERROR, 'Cask execution: unknown error')
            return False
        views = {
            name: cuda.memory_at(addresses[name], 4 * int(np.prod(shape)))
            for name, shape, _ in engine._tensors
        }
        assert len(set(addresses.values())) == len(addresses), 'tensors share their memory'

        def compute():
            feed = {
                name: np.frombuffer(views[name], np.float32).reshape(shape)
                for name, shape, is_input in engine._tensors
                if is_input
            }
            names = [name for name, _, is_input in engine._tensors if not is_input]
            for name, result in zip(names, engine._session.run(names, feed)):
                if engine._facts['half']:
                    result = result.astype(np.float16).astype(np.float32)
                if engine._facts['tf32']:
                    result = (result.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
                views[name][:] = self._trt.distort(result).tobytes()

        cuda.enqueue(stream, compute)
        return True


CLASSES = (
    Builder,
    INetworkDefinition,
    IBuilderConfig,
    OnnxParser,
    Runtime,
    ICudaEngine,
    IExecutionContext,
)


def _demand(value, kind):
    if not isinstance(value, kind):
        raise TypeError('incompatible function arguments: {!r} is no {}'.format(value, kind))
    return value


def _session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])


def names_of(generation):
    """Return what a generation has, of what the fakes know: the names by class, '' the module."""
    kinds = CLASSES + (ILogger, IProgressMonitor)
    names = {kind.__name__: {n for n in vars(kind) if n[0] != '_'} for kind in kinds}
    names.update((name, set(values)) for name, values in ENUMS.items())
    names[''] = set(names)
    return {name: found - LACKS[generation].get(name, set()) for name, found in names.items()}


def make_tensorrt(generation, cuda):
    """
    Return the module ``tensorrt`` of a generation, for a FakeCudart.

    ``on_build``, ``on_step`` and ``distort`` may be set: they are called when an engine begins to
    be built, after its first step, and with each output; ``unknown`` is an operator it lacks.
    """
    trt = types.ModuleType('tensorrt')
    trt.__version__, trt.cuda = VERSIONS[generation], cuda
    trt.on_build = trt.on_step = lambda: None
    trt.distort, trt.unknown = lambda result: result, 'Unknown'
    lacks = LACKS[generation]
    made = {'ILogger': ILogger, 'IProgressMonitor': IProgressMonitor}
    for kind in CLASSES:
        name = kind.__name__
        left_out = {'__dict__', '__weakref__'} | lacks.get(name, set())
        body = {n: v for n, v in vars(kind).items() if n not in left_out}
        made[name] = type(name, (_Strict,), dict(body, _trt=trt))
    for name, values in ENUMS.items():
        values = [value for value in values if value not in lacks.get(name, ())]
        made[name] = enum.IntEnum(name, values, start=0)
    for name in set(made) - lacks.get('', set()):
        setattr(trt, name, made[name])
    return trt
