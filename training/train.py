"""Train a network on synthetic recordings: ``python -m training.train DATA --out DIR``.

Windows are drawn anew all the time, balanced over what they show, so an epoch is so many windows,
not a pass over the data. Validation identities choose the checkpoint, test identities are looked
at once, at the end. ``DIR`` holds ``last.pt`` (resumes), ``best.pt`` (exports), ``report.json``.
"""

import argparse
import copy
import ctypes
import json
import math
import os
import queue
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from cs3d_ros import Cs3dError
from training.dataset import LABELS, DataSet, cut_window
from training.metrics import described, judge
from training.models import C3D_SETTINGS, CS3D, CS3DSettings
from training.models.counter import count

EVALUATION_BATCH = 32


class TrainingError(Cs3dError):
    """A training that cannot go on."""


@dataclass(frozen=True)
class TrainSettings:
    """What makes one training, the network apart."""

    epochs: int = 30
    windows_per_epoch: int = 4096
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.05
    warmup: float = 0.02  # share of the training
    average: float = 0.998  # decay per step of the averaged weights, which are the ones judged
    time_limit_min: float = 0.0  # 0: none; else the schedule ends with it
    seed: int = 1
    threads: int = 2
    bfloat16: bool = True


def to_input(frames: np.ndarray) -> torch.Tensor:
    """Return clips (N, 1, T, H, W) float32 of frames (N, T, H, W) uint8, as the robot does."""
    return ((torch.from_numpy(frames).float() - 128) / 128).unsqueeze(1)


def keep_memory():
    """Let glibc hold on to freed memory: mapping activations anew each step doubles its time."""
    try:
        libc = ctypes.CDLL('libc.so.6')
        libc.mallopt(-4, 0)  # M_MMAP_MAX: nothing by mmap
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: give nothing back
    except (OSError, AttributeError):
        pass  # another C library: only slower


class Trainer:
    """A network in training, with all that resuming it takes."""

    def __init__(self, network_settings: CS3DSettings, settings: TrainSettings):
        torch.manual_seed(settings.seed)
        self.network_settings, self.settings = network_settings, settings
        self.network = CS3D(network_settings).to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.epoch = self.step = 0
        self.elapsed_s = 0.0
        self.best = -1.0  # mean recall on validation
        self.history = []

    @property
    def progress(self) -> float:
        """Share of the training that is done, by steps or by time, whichever is further."""
        s = self.settings
        done = self.step * s.batch / (s.epochs * s.windows_per_epoch)
        if s.time_limit_min:
            done = max(done, self.elapsed_s / (60 * s.time_limit_min))
        return min(1.0, done)

    def run_epoch(self, data: DataSet) -> dict:
        """Train on one epoch's windows; return loss, accuracy and rates."""
        steps = -(-self.settings.windows_per_epoch // self.settings.batch)
        self.network.train()
        losses, hits, waited, began = [], 0, 0.0, time.monotonic()
        for frames, labels in self._prefetched(data, steps):
            waited += frames[1]
            loss, right = self._learn(to_input(frames[0]), torch.from_numpy(labels))
            losses.append(loss)
            hits += right
        took = time.monotonic() - began
        self.epoch += 1
        self.elapsed_s += took
        windows = steps * self.settings.batch
        return {
            'loss': float(np.mean(losses)),
            'accuracy': hits / windows,
            'ms_per_window': 1e3 * took / windows,
            'waiting': waited / took,
        }

    def _learn(self, clips, labels):
        s = self.settings
        done = self.progress
        rate = (
            min(1.0, done / s.warmup) * 0.5 * (1 + math.cos(math.pi * done)) if s.warmup else 1.0
        )
        for group in self.optimizer.param_groups:
            group['lr'] = s.learning_rate * max(rate, 1e-3)
        with torch.autocast('cpu', torch.bfloat16, enabled=s.bfloat16):
            logits = self.network(clips)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=s.label_smoothing)
        if not torch.isfinite(loss):
            raise TrainingError(
                'the loss became {} in step {}: lower --learning-rate (now {}) or --beta, or '
                'leave bfloat16 by --float32'.format(loss.item(), self.step, s.learning_rate)
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self._average()
        self.step += 1
        return loss.item(), int((logits.argmax(1) == labels).sum())

    def _average(self):
        # A young average would remember the random start: let its memory grow with the steps.
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for kept, new in zip(
                self.averaged.state_dict().values(), self.network.state_dict().values()
            ):
                if kept.dtype.is_floating_point:
                    kept.lerp_(new, 1 - decay)
                else:
                    kept.copy_(new)

    def _prefetched(self, data, steps):
        """Yield ((frames, seconds waited), labels), cut by a thread beside the training."""
        ready = queue.Queue(maxsize=4)

        def produce():
            try:
                for step in range(self.step, self.step + steps):
                    rng = np.random.default_rng([self.settings.seed, step])
                    ready.put(data.batch(self.settings.batch, rng))
            except Exception as error:  # a thread's edge: handed to the one that waits
                ready.put(error)

        threading.Thread(target=produce, daemon=True).start()
        for _ in range(steps):
            began = time.monotonic()
            item = ready.get()
            if isinstance(item, Exception):
                raise item
            yield (item[0], time.monotonic() - began), item[1]

    def state(self) -> dict:
        """Return all that resuming or exporting needs."""
        return {
            'network': self.network.state_dict(),
            'averaged': self.averaged.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'epoch': self.epoch,
            'step': self.step,
            'elapsed_s': self.elapsed_s,
            'best': self.best,
            'history': self.history,
            'network_settings': self.network_settings.as_dict(),
            'train_settings': asdict(self.settings),
        }

    def resume(self, state: dict):
        """Go on from a state; TrainingError if it is of another network."""
        if state['network_settings'] != self.network_settings.as_dict():
            raise TrainingError(
                'the checkpoint is of another network ({}): give the same settings '
                'or another --out'.format(state['network_settings'])
            )
        self.network.load_state_dict(state['network'])
        self.averaged.load_state_dict(state['averaged'])
        self.optimizer.load_state_dict(state['optimizer'])
        for name in ('epoch', 'step', 'elapsed_s', 'best', 'history'):
            setattr(self, name, state[name])


def save(state: dict, path: Path):
    """Write a checkpoint so that the path never holds half of one."""
    aside = path.with_suffix('.part')
    torch.save(state, aside)
    os.replace(aside, path)


def load(path: Path) -> dict:
    """Return a checkpoint; TrainingError if the file is none."""
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # pickle, zip and torch errors have no common root
        raise TrainingError('{} is no whole checkpoint: {}'.format(path, error)) from error
    if not isinstance(state, dict) or 'network_settings' not in state:
        raise TrainingError('{} is no checkpoint of training.train'.format(path))
    return state


class Examination:
    """Fixed windows of a split, cut once."""

    def __init__(self, data: DataSet, seed: int):
        windows = data.fixed_windows(np.random.default_rng(seed))
        self.frames = np.stack([cut_window(window, data.settings) for window in windows])
        self.truth = np.array([window.label for window in windows])

    def logits(self, network) -> torch.Tensor:
        """Return logits (n, outputs) float32, without dropout, in float32."""
        network.eval()
        with torch.inference_mode():
            return torch.cat(
                [
                    network(to_input(self.frames[i : i + EVALUATION_BATCH]))
                    for i in range(0, len(self.frames), EVALUATION_BATCH)
                ]
            )

    def judge(self, network, temperature: float = 1.0) -> dict:
        """Return the scores of a network on the windows."""
        probabilities = torch.softmax(self.logits(network) / temperature, 1).numpy()
        return judge(self.truth, probabilities, LABELS)


def calibrate(logits: torch.Tensor, truth: np.ndarray) -> float:
    """
    Return the temperature that makes probabilities of the logits likeliest.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    truth = torch.from_numpy(truth)
    temperatures = np.exp(np.linspace(np.log(0.25), np.log(4), 97))
    losses = [F.cross_entropy(logits / t, truth).item() for t in temperatures]
    return float(temperatures[int(np.argmin(losses))])


def train(
    folders: list,
    out: Path,
    network_settings: CS3DSettings,
    settings: TrainSettings,
    say=print,
) -> dict:
    """Train to the end and return the report; resumes what ``out`` holds."""
    torch.set_num_threads(settings.threads)
    keep_memory()
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(network_settings, settings)
    if (out / 'last.pt').exists():
        trainer.resume(load(out / 'last.pt'))
        say('resumed after epoch {}'.format(trainer.epoch))
    data, held_out = DataSet(folders, 'train'), DataSet(folders, 'val')
    validation = Examination(held_out, seed=0)
    while trainer.progress < 1:
        if data.take_in() + held_out.take_in() or trainer.best < 0:
            validation = Examination(held_out, seed=0)
            trainer.best = -1.0  # on other windows, a score does not compare
            say(
                '{} training clips, {} validation windows'.format(
                    len(data.clips), len(validation.truth)
                )
            )
        row = trainer.run_epoch(data)
        result = validation.judge(trainer.averaged)
        row.update(
            epoch=trainer.epoch,
            val_loss=result['loss'],
            val_recall=result['all']['mean_recall'],
            val_expressions=result['expressions']['accuracy'],
        )
        trainer.history.append(row)
        say(
            'epoch {epoch:3d}  loss {loss:.3f}  accuracy {accuracy:.3f}  | val loss {val_loss:.3f}'
            '  recall {val_recall:.3f}  expressions {val_expressions:.3f}  | '
            '{ms_per_window:.1f} ms/window, waiting {waiting:.0%}'.format(**row)
        )
        if result['all']['mean_recall'] > trainer.best:
            trainer.best = result['all']['mean_recall']
            save(trainer.state(), out / 'best.pt')
        save(trainer.state(), out / 'last.pt')
    return conclude(out, data, validation, DataSet(folders, 'test'), say)


def conclude(out, data, validation, tested, say) -> dict:
    """Calibrate the best checkpoint, judge it on the test identities, write the report."""
    best = load(out / 'best.pt')
    network = network_of(best)
    temperature = calibrate(validation.logits(network), validation.truth)
    result = Examination(tested, seed=0).judge(network, temperature)
    cost = count(network)
    report = {
        'network': best['network_settings'],
        'training': best['train_settings'],
        'epoch': best['epoch'],
        'elapsed_min': best['elapsed_s'] / 60,
        'windows_seen': best['step'] * best['train_settings']['batch'],
        'macs': cost.macs,
        'parameters': cost.parameters,
        'temperature': temperature,
        'train_clips': len(data.clips),
        'train_identities': len({clip.identity for clip in data.clips}),
        'test_clips': len(tested.clips),
        'test_identities': len({clip.identity for clip in tested.clips}),
        'validation': validation.judge(network, temperature),
        'test': result,
    }
    save({**best, 'report': report}, out / 'best.pt')
    (out / 'report.json').write_text(json.dumps(report, indent=1) + '\n')
    (out / 'report.txt').write_text(described(result) + '\n')
    say('test identities, epoch {}:\n{}'.format(best['epoch'], described(result)))
    return report


def network_of(checkpoint: dict) -> CS3D:
    """Return the averaged network of a checkpoint, ready to answer."""
    network = CS3D(CS3DSettings(**checkpoint['network_settings']))
    network.load_state_dict(checkpoint['averaged'])
    return network.eval()


def parser() -> argparse.ArgumentParser:
    """Return the command line; its defaults are those of the settings."""
    s = TrainSettings()
    p = argparse.ArgumentParser(
        prog='python -m training.train',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        'data', type=Path, nargs='+', help='folder(s) made by training.synthesize; may still grow'
    )
    p.add_argument('--out', type=Path, required=True, help='folder of checkpoints; resumes there')
    p.add_argument('--model', choices=('cs3d', 'c3d'), default='cs3d')
    p.add_argument('--width', type=float, default=0.25, help='multiplier of channels')
    p.add_argument('--head', choices=('gap', 'fc'), default='gap')
    p.add_argument('--stem-filters', type=int, default=8, help='1 is the paper')
    p.add_argument('--stem-stride', type=int, default=2, help='1 is the paper')
    p.add_argument('--theta', type=float, default=CS3DSettings.theta)
    p.add_argument('--beta', type=float, default=CS3DSettings.beta)
    p.add_argument('--dropout', type=float, default=0.2)
    for switch in ('ssn', 'factorised', 'attention'):
        p.add_argument('--no-' + switch, action='store_true')
    p.add_argument('--epochs', type=int, default=s.epochs)
    p.add_argument('--windows-per-epoch', type=int, default=s.windows_per_epoch)
    p.add_argument('--batch', type=int, default=s.batch)
    p.add_argument('--learning-rate', type=float, default=s.learning_rate)
    p.add_argument('--weight-decay', type=float, default=s.weight_decay)
    p.add_argument('--label-smoothing', type=float, default=s.label_smoothing)
    p.add_argument('--time-limit', type=float, default=0.0, help='minutes of training, 0: none')
    p.add_argument('--seed', type=int, default=s.seed)
    p.add_argument('--threads', type=int, default=s.threads)
    p.add_argument('--float32', action='store_true', help='slower; where bfloat16 is not wanted')
    return p


def network_settings_of(args) -> CS3DSettings:
    """Return the network that a command line asks for."""
    common = {
        'outputs': len(LABELS),
        'width': args.width,
        'head': args.head,
        'theta': args.theta,
        'beta': args.beta,
        'dropout': args.dropout,
    }
    if args.model == 'c3d':
        return CS3DSettings(**{**C3D_SETTINGS.as_dict(), **common})
    stem = (
        {}
        if args.no_factorised
        else {'stem_filters': args.stem_filters, 'stem_stride': args.stem_stride}
    )
    return CS3DSettings(
        ssn=not args.no_ssn,
        factorised=not args.no_factorised,
        attention=not args.no_attention,
        **stem,
        **common,
    )


def main(argv=None):
    """Run the command."""
    args = parser().parse_args(argv)
    settings = TrainSettings(
        epochs=args.epochs,
        windows_per_epoch=args.windows_per_epoch,
        batch=args.batch,
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
        label_smoothing=args.label_smoothing,
        time_limit_min=args.time_limit,
        seed=args.seed,
        threads=args.threads,
        bfloat16=not args.float32,
    )
    network_settings = network_settings_of(args)
    print(
        json.dumps(
            {'network': network_settings.as_dict(), 'training': asdict(settings)}, indent=1
        ),
        flush=True,
    )
    try:
        train(
            args.data,
            args.out,
            network_settings,
            settings,
            say=lambda line: print(line, flush=True),
        )
    except Cs3dError as error:
        raise SystemExit('error: {}'.format(error)) from error


if __name__ == '__main__':
    main()
