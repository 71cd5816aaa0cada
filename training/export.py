"""Make the bundle of a trained network: ``python -m training.export BEST.pt -o cs3d.onnx``.

The bundle is proven against torch before it is written; its card, a page of Markdown beside it,
says what it was trained on and how good it is.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import onnx
import torch

from cs3d_ros import Cs3dError
from cs3d_ros.events import FrameSettings
from cs3d_ros.face.align import MARGIN
from cs3d_ros.inference import EXPRESSIONS, open_engine
from cs3d_ros.inference.bundle import METADATA_KEY, SCHEMA
from training.graph import onnx_model
from training.metrics import described
from training.models import CS3D
from training.train import TrainingError, load, network_of

TOLERANCE = 1e-4  # of probabilities, ONNX Runtime against torch
HOP_FRAMES = 2  # 15 answers a second


class ExportError(Cs3dError):
    """A network that does not become the bundle that it should."""


def metadata_of(network: CS3D, report: dict, name: str = 'cs3d') -> dict:
    """Return what a bundle says of a network and its training report."""
    frames = FrameSettings()
    test = report['test']
    return {
        'schema': SCHEMA,
        'kind': 'clip',
        'name': name,
        'classes': list(EXPRESSIONS),
        'unchanged': True,
        'clip_frames': network.settings.frames,
        'size': network.settings.size,
        'period_ns': frames.period_ns,
        'step': frames.step,
        'margin': MARGIN,
        'hop_frames': HOP_FRAMES,
        'state': [],
        'training': {
            'data': 'rendered faces (ICT-FaceKit, MIT; MakeHuman skins, CC0) through the DVS '
            'pixel model of cs3d_ros.simulator',
            'clips': report['train_clips'],
            'identities': report['train_identities'],
            'windows_seen': report['windows_seen'],
            'network': report['network'],
            'settings': report['training'],
        },
        'accuracy': {
            'on': 'rendered faces of identities never trained on, true face boxes',
            'identities': report['test_identities'],
            'clips': report['test_clips'],
            **{
                key: {
                    name: score[name] for name in ('accuracy', 'accuracy_95', 'trials', 'macro_f1')
                }
                for key, score in (('expressions', test['expressions']), ('all', test['all']))
            },
        },
    }


def write_metadata(model: onnx.ModelProto, metadata: dict):
    """Put metadata into a model, in place of what it had."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata)


def write_bundle(network: CS3D, metadata: dict, path: Path, temperature: float = 1.0):
    """
    Write a bundle and prove it: it must answer as torch does.

    Raises
    ------
    ExportError
        If ONNX Runtime answers otherwise than torch by more than 1e-4.
    BundleError
        If the metadata contradicts the network.
    """
    path = Path(path)
    model = onnx_model(network, temperature)
    write_metadata(model, metadata)
    aside = path.with_suffix('.part.onnx')
    try:
        aside.write_bytes(model.SerializeToString())
        difference = typical_difference(network, temperature, aside)
        if difference > TOLERANCE:
            raise ExportError(
                'ONNX Runtime and torch differ by {:.1e}, more than {:.0e}: please '
                'report it with the checkpoint'.format(difference, TOLERANCE)
            )
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def typical_difference(network: CS3D, temperature: float, path: Path, clips: int = 9) -> float:
    """
    Return by how much a bundle's probabilities differ from torch's, median over random clips.

    The median, as a soft spiking neuron with a threshold above 0 jumps there: now and then
    rounding tips one over, and that clip differs in torch itself from one machine to another.
    """
    rng = np.random.default_rng(0)
    engine = open_engine(path)
    differences = []
    for _ in range(clips):
        # as sparse as event frames: most cells still, a few events in the others
        counts = rng.poisson(rng.uniform(0.02, 0.5), engine.bundle.input_shape)
        signs = rng.choice([-1, 1], counts.shape)
        clip = (np.clip(128 + 32 * counts * signs, 0, 255) - 128).astype(np.float32) / 128
        expected = probabilities_of(network, temperature, clip)
        differences.append(np.abs(engine.run(clip)[0] - expected).max())
    return float(np.median(differences))


def probabilities_of(network: CS3D, temperature: float, clip: np.ndarray) -> np.ndarray:
    """Return torch's probabilities (outputs,) for one clip."""
    with torch.inference_mode():
        return torch.softmax(network(torch.from_numpy(clip)) / temperature, 1)[0].numpy()


def card_of(report: dict, transfer: str = '') -> str:
    """Return the page that says what a bundle is and how good, from its training report."""
    network, training, test = report['network'], report['training'], report['test']
    expressions, every = test['expressions'], test['all']
    return CARD.format(
        switches=', '.join(name for name in ('ssn', 'factorised', 'attention') if network[name]),
        width=network['width'],
        head=network['head'],
        stem_filters=network['stem_filters'],
        stem_stride=network['stem_stride'],
        theta=network['theta'],
        beta=network['beta'],
        macs=report['macs'] / 1e6,
        parameters=report['parameters'] / 1e3,
        train_clips=report['train_clips'],
        train_identities=report['train_identities'],
        test_clips=report['test_clips'],
        test_identities=report['test_identities'],
        windows=report['windows_seen'],
        minutes=report['elapsed_min'],
        epoch=report['epoch'],
        seed=training['seed'],
        temperature=report['temperature'],
        accuracy=100 * expressions['accuracy'],
        low=100 * expressions['accuracy_95'][0],
        high=100 * expressions['accuracy_95'][1],
        trials=expressions['trials'],
        f1=expressions['macro_f1'],
        recall8=100 * every['mean_recall'],
        table=described(test),
        transfer=transfer or 'Not measured for this version.',
    )


CARD = """# cs3d.onnx

The bundle that the package ships: 16 event frames of a face in, the expression that the face
moves to out. Written by `python -m training.export`.

## What it is
CS3D ({switches}), widths x {width}, {head} head, first block with {stem_filters} filters and
stride {stem_stride}, theta {theta}, beta {beta}: {macs:.0f} M multiply-adds,
{parameters:.0f} k parameters. Input and classes stand in the metadata of the file
(`cs3d_ros.inference.read_bundle`). The last output, "unchanged", means that the expression does
not change: stillness, a held apex, a blink, speech, a head in motion.

## What it learnt from
{train_clips} clips of {train_identities} rendered people (morphable face with skins, one light;
`python -m training.synthesize`), watched by the pixel model of `cs3d_ros.simulator`. Windows of
0.53 s balanced over what they show, around the true face box with jitter; {windows} windows seen
in {minutes:.0f} minutes on a CPU, seed {seed}, epoch {epoch} chosen on validation identities,
temperature {temperature:.2f} calibrated there too. No real face was seen in training.

## How good it is
On {test_clips} clips of {test_identities} rendered people that neither training nor choice saw,
one window per transition: **{accuracy:.1f} % of {trials} right among seven expressions** (95 %
Wilson interval {low:.1f} to {high:.1f}; chance 14.3), macro-F1 {f1:.2f}. With "unchanged" among
the answers, mean recall over all eight is {recall8:.1f} %.

```
{table}
```

## On real faces
{transfer}

## Limits
- Trained on rendered faces only, with one light; a good score there says little about people.
- It sees changes: an expression that was there before the first clip, or rises over more than a
  second, is missed.
- Posed, prototypical expressions. What a face shows is not what a person feels.
- The boxes were true ones with jitter of about 5 %; a worse tracker costs accuracy.
- Events came from an ideal pixel model, without noise but for random events added in training.
"""


def main(argv=None):
    """Run the command."""
    p = argparse.ArgumentParser(
        prog='python -m training.export',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('checkpoint', type=Path, help='best.pt of training.train')
    p.add_argument('-o', '--output', type=Path, required=True, help='bundle to write, .onnx')
    p.add_argument('--transfer', type=Path, help='text for the card, from training.transfer')
    args = p.parse_args(argv)
    try:
        checkpoint = load(args.checkpoint)
        if 'report' not in checkpoint:
            raise TrainingError(
                '{} is of a training that has not ended: let training.train finish'.format(
                    args.checkpoint
                )
            )
        report, network = checkpoint['report'], network_of(checkpoint)
        write_bundle(network, metadata_of(network, report), args.output, report['temperature'])
    except Cs3dError as error:
        raise SystemExit('error: {}'.format(error)) from error
    transfer = args.transfer.read_text().strip() if args.transfer else ''
    args.output.with_suffix('.md').write_text(card_of(report, transfer))
    print('{}: {:.0f} kB'.format(args.output, args.output.stat().st_size / 1e3))


if __name__ == '__main__':
    main()
