"""
The Python API of TensorRT, 8.2 to 11, told apart by what it has, never by its version.

Up to 8.4 the tensors of an engine are bindings with numbers, from 8.5 on they have names, from 10
on nothing but names. How engines are built stands in ``cs3d_ros.inference.tensorrt_build``.

Source: the bindings of TensorRT 8.2.1, 8.6.1, 10.13 and 11.4.
"""

import functools
import importlib
from typing import Any, Dict, NamedTuple, Tuple

from cs3d_ros.inference.cuda import OUT_OF_MEMORY
from cs3d_ros.inference.engine import BackendError, EngineError
from cs3d_ros.inference.plans import PlanError
from cs3d_ros.runtime import first_line

# What 8 and later have; 7, of JetPack 4.4 and 4.5, builds no serialised networks.
NEEDED = ('__version__', 'ILogger', 'Builder.build_serialized_network', 'OnnxParser', 'Runtime')
INSTALL = 'JetPack brings it, elsewhere pip install tensorrt'
LINES_TOLD = 2  # of what TensorRT logs for one failure, the last ones


class TensorRt:
    """
    TensorRT as it is installed.

    Attributes
    ----------
    module : module
    version : str

    Raises
    ------
    BackendError
        If it is not installed, its libraries do not load, or it is older or something else.
    """

    def __init__(self):
        try:
            self.module = importlib.import_module('tensorrt')
        except (ImportError, OSError) as error:
            raise BackendError(
                'TensorRT does not load, {} ({})'.format(INSTALL, first_line(error))
            ) from error
        _check_module(self.module)
        self.version = self.module.__version__
        self._log = _log_of(self.module)

    def make(self, name: str, *arguments) -> Any:
        """Return a new Builder, Runtime or OnnxParser, which take the log as their last one."""
        try:
            return getattr(self.module, name)(*(arguments + (self._log,)))
        except TypeError as error:  # a null pointer becomes one
            raise self.failure('makes no ' + name) from error

    def failure(self, what: str, *reasons: str) -> EngineError:
        """Return an error with what TensorRT said of it, and with the cure if it lacked memory."""
        said = '; '.join(map(first_line, reasons or self._log.take())) or 'it does not say why'
        cure = OUT_OF_MEMORY if 'memory' in said.lower() else 'backend onnxruntime needs no GPU'
        return EngineError('TensorRT {} {}: {}: {}'.format(self.version, what, said, cure))

    def load(self, plan: bytes) -> 'LoadedPlan':
        """
        Return an engine that runs.

        Raises
        ------
        PlanError
            If TensorRT refuses the plan.
        EngineError
            If the device has no memory for it.
        """
        engine = self.make('Runtime').deserialize_cuda_engine(plan)
        if engine is None:
            raise PlanError(str(self.failure('refuses the engine')))
        context = engine.create_execution_context()
        if context is None:
            raise self.failure('cannot run the engine')
        kind = _ByName if hasattr(engine, 'num_io_tensors') else _ByNumber
        return kind(self, engine, context)


class Tensor(NamedTuple):
    """An input or output of an engine."""

    shape: Tuple[int, ...]
    is_float: bool  # float32
    is_input: bool


class LoadedPlan:
    """
    An engine and its context; the children know how its tensors are called.

    Attributes
    ----------
    tensors : dict of str to Tensor
    """

    def __init__(self, api: TensorRt, engine: Any, context: Any):
        self._api, self._engine, self._context = api, engine, context
        self.tensors = self._find_tensors()  # type: Dict[str, Tensor]

    def execute(self, addresses: Dict[str, int], stream: int) -> None:
        """Begin a run on the tensors at the addresses; EngineError if it does not begin."""
        if not self._enqueue(addresses, stream):
            raise self._api.failure('did not run')

    def _tensor(self, shape, dtype, is_input):
        return Tensor(tuple(shape), dtype == self._api.module.DataType.FLOAT, is_input)


class _ByNumber(LoadedPlan):
    """Up to 8.4."""

    def _find_tensors(self):
        engine = self._engine
        return {
            engine.get_binding_name(i): self._tensor(
                engine.get_binding_shape(i),
                engine.get_binding_dtype(i),
                engine.binding_is_input(i),
            )
            for i in range(engine.num_bindings)
        }

    def _enqueue(self, addresses, stream):
        bindings = [0] * self._engine.num_bindings
        for name, address in addresses.items():
            bindings[self._engine.get_binding_index(name)] = address
        return self._context.execute_async_v2(bindings, stream)


class _ByName(LoadedPlan):
    """From 8.5 on."""

    def _find_tensors(self):
        engine, as_input = self._engine, self._api.module.TensorIOMode.INPUT
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        return {
            name: self._tensor(
                engine.get_tensor_shape(name),
                engine.get_tensor_dtype(name),
                engine.get_tensor_mode(name) == as_input,
            )
            for name in names
        }

    def _enqueue(self, addresses, stream):
        for name, address in addresses.items():
            self._context.set_tensor_address(name, address)
        return self._context.execute_async_v3(stream)


def _check_module(module):
    """Refuse a namesake: to Python any folder on its path is a module, even an empty one."""
    lacking = [
        name for name in NEEDED if functools.reduce(_part_of, name.split('.'), module) is None
    ]
    if lacking:
        # a folder without __init__.py has no file
        places = getattr(module, '__path__', None) or [getattr(module, '__file__', 'no file')]
        raise BackendError(
            'the module tensorrt in {} is not TensorRT 8 or newer, as it lacks {}: take it '
            'off the path of Python; {}'.format(', '.join(places), ', '.join(lacking), INSTALL)
        )


def _part_of(whole, name):
    return getattr(whole, name, None)


@functools.lru_cache(maxsize=None)
def _log_of(module):
    """Return the one log of this process: TensorRT keeps to the first that it is given."""

    class Log(module.ILogger):
        """Keeps what TensorRT says of its failures for our errors; prints nothing."""

        def __init__(self):
            module.ILogger.__init__(self)
            self._said = []

        def log(self, severity, msg):
            if severity <= module.ILogger.Severity.ERROR:
                self._said.append(msg)

        def take(self):
            """Return the last of what was said since the last time."""
            said, self._said = self._said, []
            return said[-LINES_TOLD:]

    return Log()
