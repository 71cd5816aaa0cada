"""
Teach the face finder: ``python -m training.finder DATA -o cs3d_ros/models/face_finder.onnx``.

It learns from maps of the training identities of a rendered set, for ten minutes on two cores, and
is judged on test identities. A card is written beside it.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from cs3d_ros import Cs3dError
from training.checkpoints import DivergedError
from training.data.clips import ClipSet, DataError, write_whole
from training.finder.judge import judged, picked
from training.finder.maps import collect, varied
from training.finder.network import FinderNetwork, loss, onnx_model

PEAK_RATE, DECAY = 4e-3, 1e-3
REPORT_EVERY = 200  # steps
JUDGED_ON = 'test'


def say(line):
    """Print a line at once."""
    print(line, flush=True)


def learn(examples, steps: int, batch: int, seed: int) -> FinderNetwork:
    """
    Return a network that learnt from examples, varied anew each time.

    Raises
    ------
    DivergedError
        If the loss, or its gradient, is no number any more.
    """
    torch.manual_seed(seed)
    rng, network = np.random.default_rng(seed), FinderNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), PEAK_RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, steps)
    summed = 0.0
    for step in range(1, steps + 1):
        drawn = [varied(examples[k], rng) for k in rng.integers(0, len(examples), batch)]
        images, boxes, shown = (torch.from_numpy(np.array(column)) for column in zip(*drawn))
        value = loss(*network(images), boxes, shown)
        optimizer.zero_grad()
        value.backward()
        norm = torch.nn.utils.get_total_norm(weight.grad for weight in network.parameters())
        if not torch.isfinite(value + norm):
            raise DivergedError(
                'the loss became {:.3g} and its gradient {:.3g} in step {}: give another --seed '
                'or a larger --batch (now {})'.format(value.item(), norm.item(), step, batch)
            )
        optimizer.step()
        schedule.step()
        summed += value.item()
        if step % REPORT_EVERY == 0:
            say('step {} of {}  loss {:.3f}'.format(step, steps, summed / REPORT_EVERY))
            summed = 0.0
    return network


def teach(options):
    """Collect, learn, export, judge; what would stop it at the end is told at once."""
    torch.set_num_threads(options.threads)
    folder, clips = options.output.parent, ClipSet(options.data)
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise DataError(
            '{} is no folder that can be written to: make it, or name another by -o'.format(folder)
        )
    judged_on = picked(clips, JUDGED_ON, options.judged_clips)
    examples = collect(
        options.data, 'train', options.maps_per_clip, options.seed, options.workers, say
    )
    network = learn(examples, options.steps, options.batch, options.seed)
    write_whole(options.output, onnx_model(network).SerializeToString())
    table = judged(options.output, clips, judged_on)
    say(table)
    write_whole(options.output.with_suffix('.md'), card(options, len(examples), table).encode())


def card(options, maps: int, table: str) -> str:
    """Return the card of a finder, in Markdown."""
    return CARD.format(
        name=options.output.name,
        maps=maps,
        data=options.data.resolve().name,
        examples=options.steps * options.batch,
        seed=options.seed,
        table=table,
    )


CARD = """# {name}

The network of the face finder (`cs3d_ros.face.FaceFinder`), made by `python -m training.finder`.

It reads a map of activity, events per cell of late and just now, and tells of every fourth cell
how well the box that it puts around it covers a face. It learnt from {maps:,} maps of the training
identities of `{data}`, rendered faces under all conditions of docs/synthetic-data.md: {examples:,}
variants, seed {seed}. It has seen no real face.

On test identities of the same set, the whole track from the beginning of each clip; right is a box
that overlaps the true one by more than 0.5 (intersection over union), wrong any other. What is
missing is the time until a face is believed, and faces that were not found:

{table}

Faces that are lower than 15 % of the sensor were not learnt. Of several faces it follows one.
"""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    p = argparse.ArgumentParser(
        prog='python -m training.finder',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('data', type=Path, help='folder made by training.synthesize')
    p.add_argument('-o', '--output', type=Path, required=True, metavar='ONNX')
    p.add_argument('--steps', type=int, default=6000)
    p.add_argument('--batch', type=int, default=32)
    p.add_argument('--maps-per-clip', type=int, default=14)
    p.add_argument('--judged-clips', type=int, default=20, help='of each condition')
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--threads', type=int, default=1)
    p.add_argument('--workers', type=int, default=os.cpu_count(), help='processes that collect')
    return p


def main(arguments=None):
    """Run the command."""
    p = parser()
    options = p.parse_args(arguments)
    for name in ('steps', 'batch', 'maps_per_clip', 'judged_clips', 'threads', 'workers'):
        if getattr(options, name) < 1:
            p.error('--{} must be 1 or more'.format(name.replace('_', '-')))
    if options.output.suffix != '.onnx':
        p.error('{} must end in .onnx'.format(options.output))
    try:
        teach(options)
    except Cs3dError as error:
        raise SystemExit('error: {}'.format(error)) from error


if __name__ == '__main__':
    main()
