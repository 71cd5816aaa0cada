"""Make the bundle of a trained network: ``python -m training.export BEST.pt -o cs3d.onnx``.

With ``--data`` the way that answers settle is fitted on the validation identities of that data,
and a network that answers states is calibrated on their frames; ``--int8`` needs it. The bundle is
proven against torch before it is written; its card, a page of Markdown beside it, says what it was
trained on and how good it is (``training.cards``).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from cs3d_ros import Cs3dError
from cs3d_ros.events import FrameSettings
from cs3d_ros.face.align import MARGIN
from cs3d_ros.inference import EXPRESSIONS, EmotionSettings, OnnxRuntimeEngine
from cs3d_ros.inference.bundle import SCHEMA
from cs3d_ros.inference.emotion import NEUTRAL
from training.calibrate import (
    fit_settling,
    fit_temperature,
    tempered,
    validation_sequences,
    watch,
)
from training.cards import card_of
from training.data.clips import write_whole
from training.graph import ExportError, onnx_model
from training.provenance import is_rendered, learnt_sources, listed
from training.quantize import quantized
from training.stamp import write_metadata
from training.train import TrainingError, load, network_of

TOLERANCE = 1e-4  # of probabilities, ONNX Runtime against torch, median
INT8_TOLERANCE = 0.05  # the same of int8, mean
CLIP_HOP_FRAMES = 2  # 15 answers a second


def is_stream(network) -> bool:
    """Return whether a network reads frame by frame."""
    return hasattr(network, 'initial_state')


def metadata_of(
    network,
    report: dict,
    name: str,
    settling: EmotionSettings = EmotionSettings(),
    validation: dict | None = None,
    unproven=(),
) -> dict:
    """
    Return what a bundle says of a network and its training report.

    Parameters
    ----------
    settling : EmotionSettings
        Fitted on validation sequences.
    validation : dict, optional
        What :func:`calibrated` found there besides.
    unproven : sequence of str
        Expressions that were not shown to be recognised on real people.

    Raises
    ------
    ExportError
        If the network answers neither expressions nor moves to them.
    """
    outputs = network.settings.outputs
    if outputs not in (len(EXPRESSIONS), len(EXPRESSIONS) + 1):
        raise ExportError(
            'the network has {} outputs, a bundle has {} (what the face wears) or {} (what it '
            'moves to, or unchanged)'.format(outputs, len(EXPRESSIONS), len(EXPRESSIONS) + 1)
        )
    frames, test, streams = FrameSettings(), report['test'], is_stream(network)
    return {
        'schema': SCHEMA,
        'kind': 'stream' if streams else 'clip',
        'name': name,
        'classes': list(EXPRESSIONS),
        'unchanged': outputs > len(EXPRESSIONS),
        'clip_frames': network.settings.frames,
        'size': network.settings.size,
        'period_ns': frames.period_ns,
        'step': report['training'].get('frame_step', frames.step),
        'margin': MARGIN,
        'hop_frames': 1 if streams else CLIP_HOP_FRAMES,
        'state': list(network.state_names) if streams else [],
        'settling': settling._asdict(),
        'unproven': list(unproven),
        'training': {
            'data': _data(report),
            'clips': report['train_clips'],
            'identities': report['train_identities'],
            'windows_seen': report['windows_seen'],
            'network': report['network'],
            # whether, not where: a path of the machine that trained tells others nothing
            'settings': {**report['training'], 'cuts': bool(report['training'].get('cuts'))},
            'began_with': report.get('began_with'),
        },
        'accuracy': {
            'on': _judged_on(report),
            'identities': report['test_identities'],
            'clips': report['test_clips'],
            'ece': test.get('ece'),
            'validation': validation or {},
            **{
                key: {
                    name: score[name] for name in ('accuracy', 'accuracy_95', 'trials', 'macro_f1')
                }
                for key, score in (('expressions', test['expressions']), ('all', test['all']))
            },
        },
    }


def _data(report):
    sources = learnt_sources(report)
    if not is_rendered(sources):
        return 'clips by source: {}'.format(listed(sources))
    return (
        'rendered faces (ICT-FaceKit, MIT; MakeHuman skins, CC0) through the DVS pixel model of '
        'cs3d_ros.simulator'
    )


def _judged_on(report):
    sources = report.get('test_sources', {})
    if not is_rendered(sources):
        return 'clips of identities never trained on, by source: {}'.format(listed(sources))
    return 'rendered faces of identities never trained on, true face boxes'


def write_bundle(network, metadata: dict, path: Path, temperature: float = 1.0, int8_frames=()):
    """
    Write a bundle and prove it: it must answer as torch does.

    Parameters
    ----------
    int8_frames : list of np.ndarray [shape=(T, size, size), dtype=uint8]
        Sequences to calibrate int8 on; none for a float bundle.

    Raises
    ------
    ExportError
        If ONNX Runtime answers otherwise than torch: in float by more than 1e-4 on random frames
        (median), in int8 by more than 0.05 on those given (mean).
    BundleError
        If the metadata contradicts the network.
    DataError
        If it cannot be written.
    """
    model = onnx_model(network, temperature)
    if int8_frames:
        model = quantized(model, int8_frames)
    write_metadata(model, metadata)
    content = model.SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        write_whole(draft, content)
        if int8_frames:
            difference, most = mean_difference(network, temperature, draft, int8_frames)
        else:
            difference, most = typical_difference(network, temperature, draft), TOLERANCE
    if not difference <= most:  # it may be NaN
        raise ExportError(
            'ONNX Runtime and torch differ by {:.1e}, more than {:.0e}: {}'.format(
                difference, most, 'export without --int8' if int8_frames else 'please report it'
            )
        )
    write_whole(path, content)


def typical_difference(network, temperature: float, path: Path) -> float:
    """
    Return by how much a bundle's probabilities differ from torch's, median over random frames.

    The median, as a soft spiking neuron with a threshold above 0 jumps there: now and then
    rounding tips one over, and that answer differs in torch itself from one machine to another.
    """
    rng = np.random.default_rng(0)
    engine = OnnxRuntimeEngine(path)
    shape = (9 * max(4, engine.bundle.clip_frames), *engine.bundle.input_shape[-2:])
    # as sparse as event frames: most cells still, a few events in the others
    counts = rng.poisson(np.repeat(rng.uniform(0.02, 0.5, 9), shape[0] // 9)[:, None, None], shape)
    levels = 128 + 32 * counts * rng.choice([-1, 1], shape)
    return float(np.median(differences(network, temperature, engine, clipped(levels))))


def mean_difference(network, temperature: float, path: Path, sequences) -> tuple[float, float]:
    """Return by how much an int8 bundle differs from torch on sequences, and what is allowed."""
    engine = OnnxRuntimeEngine(path)
    long_enough = [frames for frames in sequences if len(frames) >= engine.bundle.clip_frames]
    found = [differences(network, temperature, engine, frames) for frames in long_enough[:8]]
    return float(np.concatenate(found).mean()), INT8_TOLERANCE


def clipped(levels) -> np.ndarray:
    """Return grey levels as uint8."""
    return np.clip(levels, 0, 255).astype(np.uint8)


def differences(network, temperature: float, engine, frames: np.ndarray) -> np.ndarray:
    """
    Return the largest difference of probabilities in each answer, a bundle's against torch's.

    Parameters
    ----------
    frames : np.ndarray [shape=(T, size, size), dtype=uint8]
        A sequence; clips are cut from it one after the other.
    """
    length = engine.bundle.clip_frames
    inputs = ((frames.astype(np.float32) - 128) / 128)[: len(frames) // length * length]
    if is_stream(network):
        parts, state, answers = inputs[:, None, None], (), []
        with torch.inference_mode():
            logits = network(torch.from_numpy(inputs)[None, None])[0]
        for part in parts:
            answer, state = engine.run(part, state)
            answers.append(answer)
    else:
        parts = inputs.reshape(-1, 1, 1, length, *inputs.shape[1:])
        with torch.inference_mode():
            logits = torch.cat([network(torch.from_numpy(part)) for part in parts])
        answers = [engine.run(part)[0] for part in parts]
    expected = torch.softmax(logits / temperature, 1).numpy()
    return np.abs(np.array(answers) - expected).max(1)


def calibrated(network, report: dict, name: str, sequences, int8: bool):
    """
    Return temperature, settling and what else validation sequences tell.

    Parameters
    ----------
    sequences : list of training.calibrate.Watched
    """
    temperature, found = report['temperature'], {}
    metadata = metadata_of(network, report, name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'draft.onnx'
        frames = [sequence.frames for sequence in sequences] if int8 else ()
        write_bundle(network, metadata, path, temperature, frames)
        timelines = watch(OnnxRuntimeEngine(path), sequences)
    if not metadata['unchanged']:
        change, found['calibration'] = fit_temperature(timelines)
        temperature *= change
        timelines = tempered(timelines, change)
    settling, found['settled'] = fit_settling(timelines, metadata['unchanged'])
    return temperature, settling, {**found, 'clips': len(sequences)}


def export(
    checkpoint: Path,
    output: Path,
    folders=(),
    int8: bool = False,
    unproven=(),
    real: str = '',
    cut=validation_sequences,
):
    """
    Write the bundle of a checkpoint, and its card.

    ``cut`` returns whole validation clips of ``folders``; another one may keep them.

    Raises
    ------
    TrainingError
        If the checkpoint is none, or of a training that has not ended.
    ExportError
        If the network does not become a bundle, the output is no .onnx in a folder that exists,
        or int8 is asked for without data.
    """
    output = Path(output)
    if output.suffix != '.onnx' or not output.parent.is_dir():
        raise ExportError('{} must be an .onnx file in a folder that exists'.format(output))
    state = load(checkpoint)
    if 'report' not in state:
        raise TrainingError(
            '{} is of a training that has not ended: let training.train finish'.format(checkpoint)
        )
    if int8 and not folders:
        raise ExportError('int8 is calibrated on validation identities: give their set by --data')
    report, network = state['report'], network_of(state)
    broken = [name for name, values in network.state_dict().items() if not values.isfinite().all()]
    if broken:
        raise ExportError(
            '{}: weights of {} are no numbers: train again, at a lower rate'.format(
                checkpoint, ', '.join(broken)
            )
        )
    temperature, settling, found, sequences = report['temperature'], EmotionSettings(), None, []
    if folders:
        sequences = cut(folders, report['training'], network.settings.size)
        temperature, settling, found = calibrated(network, report, output.stem, sequences, int8)
    metadata = metadata_of(network, report, output.stem, settling, found, unproven)
    frames = [sequence.frames for sequence in sequences] if int8 else ()
    write_bundle(network, metadata, output, temperature, frames)
    card = card_of(output.name, metadata, report, temperature, int8, real)
    write_whole(output.with_suffix('.md'), card.encode())


def main(argv=None):
    """Run the command."""
    p = argparse.ArgumentParser(
        prog='python -m training.export',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('checkpoint', type=Path, help='best.pt of training.train')
    p.add_argument('-o', '--output', type=Path, required=True, help='bundle to write, .onnx')
    p.add_argument('--data', type=Path, nargs='+', default=(), help='folder(s) of clips')
    p.add_argument('--int8', action='store_true', help='compute in 8 bits where it pays')
    p.add_argument(
        '--unproven',
        nargs='+',
        default=(),
        choices=[name for name in EXPRESSIONS if name != NEUTRAL],
        help='expressions not shown to be recognised on real people: they are not named',
    )
    p.add_argument('--real', type=Path, help='text for the card, of training.experiments real')
    args = p.parse_args(argv)
    try:
        real = _text_of(args.real) if args.real else ''
        export(args.checkpoint, args.output, args.data, args.int8, args.unproven, real)
    except (Cs3dError, OSError) as error:
        raise SystemExit('error: {}'.format(error)) from error
    print('{}: {:.0f} kB'.format(args.output, args.output.stat().st_size / 1e3))


def _text_of(path):
    try:
        return path.read_text(encoding='utf-8').strip()
    except UnicodeDecodeError as error:
        raise ExportError('{} is no text ({})'.format(path, error)) from error


if __name__ == '__main__':
    main()
