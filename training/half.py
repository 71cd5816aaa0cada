"""From a bundle in float32 to one in fp16: ``python -m training.half BUNDLE -o HALF``.

For TensorRT 11, which computes in the types of a bundle; earlier versions, those of every Jetson
so far among them, choose fp16 themselves. Inputs, outputs and so the state keep their type, as all
does that comes behind the last pooling: it is few numbers, and fp16 would round away small steps
of a gated cell.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cs3d_ros import Cs3dError
from cs3d_ros.inference import OnnxRuntimeEngine, read_bundle
from cs3d_ros.inference.backends import TOLERANCES, difference
from cs3d_ros.inference.bundle import METADATA_KEY
from training.data.clips import write_whole
from training.export import ExportError, write_metadata

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
INSIDE = '_inside'  # behind the name of what goes out in float, where it is still in fp16


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Return a model that computes in fp16 from its first convolution to its last pooling.

    Raises
    ------
    ExportError
        If it is quantised, or has a weight that fp16 cannot hold.
    """
    if any(node.op_type == 'QuantizeLinear' for node in model.graph.node):
        raise ExportError('the bundle computes in int8 already: take the one in float')
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    body = _body(graph)
    outputs = [value.name for value in graph.output if value.name in body]
    _rename(graph, {name: name + INSIDE for name in outputs})
    body.update(name + INSIDE for name in outputs)
    types = _Types(graph)
    nodes = []
    for node in graph.node:
        kind = HALF if node.output[0] in body else FLOAT
        for index, name in enumerate(node.input):
            node.input[index] = types.read(name, kind, nodes)
        types.kinds.update(dict.fromkeys(node.output, kind))
        nodes.append(node)
    nodes += [_cast(name + INSIDE, name, FLOAT) for name in outputs]
    types.finish(nodes)
    onnx.checker.check_model(result, full_check=True)
    return result


def _body(graph) -> set:
    """Return the tensors made before and behind convolutions, but not behind a Gemm."""
    behind, head = set(), set()
    for node in graph.node:
        if node.op_type == 'Gemm' or head & set(node.input):
            head.update(node.output)
        elif node.op_type == 'Conv' or behind & set(node.input):
            behind.update(node.output)
    before = set(behind)
    for node in reversed(graph.node):
        if before & set(node.output):
            before.update(node.input)
    return {name for node in graph.node for name in node.output if name in before} - head


def _rename(graph, names):
    for node in graph.node:
        node.name = names.get(node.name, node.name)  # nodes are called as what they make
        for ends in (node.input, node.output):
            for index, name in enumerate(ends):
                ends[index] = names.get(name, name)


def _cast(name, result, kind):
    return helper.make_node('Cast', [name], [result], result, to=kind)


class _Types:
    """Which tensors are of which type, and the casts and weights that were made of them."""

    def __init__(self, graph):
        self.kinds = {value.name: FLOAT for value in graph.input}
        self._graph, self._made = graph, {}
        self._weights = {w.name: w for w in graph.initializer if w.data_type == FLOAT}

    def read(self, name, kind, nodes):
        """Return the name of a tensor in a type, cast once by a node where it has another."""
        if name in self._weights:
            if kind == HALF and name not in self._made:
                self._made[name] = _halved(self._weights[name])
            return self._made[name].name if kind == HALF else name
        if self.kinds.get(name, kind) == kind:  # shapes and bounds are of neither
            return name
        if (name, kind) not in self._made:
            cast = _cast(name, '{}_{}'.format(name, 'half' if kind == HALF else 'float'), kind)
            self._made[name, kind] = cast
            nodes.append(cast)
        return self._made[name, kind].name

    def finish(self, nodes):
        """Put nodes and what they read into the graph, in place of what it had."""
        read = {name for node in nodes for name in node.input}
        halves = [made for key, made in self._made.items() if isinstance(key, str)]
        weights = [w for w in [*self._graph.initializer, *halves] if w.name in read]
        nodes, weights = ([copied(each) for each in kept] for kept in (nodes, weights))
        del self._graph.node[:], self._graph.initializer[:], self._graph.value_info[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(weights)


def copied(message):
    """Return a protocol message that no graph owns."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _halved(weight):
    values = numpy_helper.to_array(weight)
    with np.errstate(over='ignore'):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ExportError(
            'weight {} holds {:.3g}, and fp16 at most 65504: leave the bundle in float32'.format(
                weight.name, np.abs(values).max()
            )
        )
    return numpy_helper.from_array(half, weight.name + '_half')


def write_half(path: Path, output: Path) -> float:
    """
    Write the fp16 form of a bundle; return by how much its probabilities differ.

    Raises
    ------
    BundleError
        If the file is no bundle.
    ExportError
        If it cannot be in fp16, or ONNX Runtime answers too differently.
    """
    read_bundle(path)
    model = onnx.load(path)
    metadata = json.loads(next(p.value for p in model.metadata_props if p.key == METADATA_KEY))
    model = halved(model)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / output.name
        write_whole(draft, model.SerializeToString())
        found = difference(OnnxRuntimeEngine(str(draft)), OnnxRuntimeEngine(str(path)))
    if not found <= TOLERANCES['fp16']:  # it may be NaN
        raise ExportError(
            '{} in fp16 answers otherwise by {:.3f}, more than {}: leave it in float32'.format(
                path, found, TOLERANCES['fp16']
            )
        )
    metadata['training']['fp16'] = 'converted; {:.1e} from float32'.format(found)
    write_metadata(model, metadata)
    write_whole(output, model.SerializeToString())
    return found


def main(argv=None):
    """Run the command."""
    p = argparse.ArgumentParser(prog='python -m training.half', description=__doc__)
    p.add_argument('bundle', type=Path, help='.onnx, float32')
    p.add_argument('-o', '--output', type=Path, required=True, help='bundle to write, .onnx')
    args = p.parse_args(argv)
    try:
        found = write_half(args.bundle, args.output)
    except (Cs3dError, OSError) as error:
        raise SystemExit('error: {}'.format(error)) from error
    kilobytes = args.output.stat().st_size / 1e3
    print('{}: {:.0f} kB, {:.1e} from float32'.format(args.output, kilobytes, found))


if __name__ == '__main__':
    main()
