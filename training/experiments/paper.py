"""The parts of docs/results.md that train or measure the networks of the paper and their peers."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cs3d_ros.inference.timing import event_like
from training.cuts import keep_open
from training.data.clips import DataError
from training.experiments.campaign import (
    Run,
    cut_once,
    finish,
    is_ended,
    training_of,
)
from training.experiments.costs import ENERGY_S, ROUNDS, machine, measure
from training.experiments.examine import Examiner, live
from training.experiments.reported import C3D, CS3D, SHIPPED
from training.experiments.results import write_result
from training.experiments.scale import Scale
from training.graph import ExportError, onnx_model
from training.models import build
from training.models.counter import ADDITION_J, MAC_J, TABLE, count
from training.quantize import quantized
from training.targets import LABELS
from training.train import data_of

LADDER, LONGER = 'ladder', 'longer'
LEARNING_RATE = 'learning_rate'  # of TrainSettings
LIGHT = ('standard', 'low_light_1', 'low_light_2', 'low_light_3')
CALIBRATION_FRAMES, CALIBRATION_RUNS = 32, 4  # of int8, for its times alone
RATES = (3e-4, 1e-3, 3e-3)  # of learning, of which every network takes the one that suits it
THETAS, BETAS = (0.0, 0.1, 0.25, 0.5, 1.0), (0.25, 1.0, 4.0, 16.0, 64.0)


class Entry(NamedTuple):
    """A network of the table."""

    name: str
    network: str
    settings: dict


def entries() -> list:
    """Return the ladder and its peers: all of the counter's table but the C3D without norm."""
    return [
        Entry(name, network, settings)
        for name, (network, settings) in TABLE.items()
        if network != 'c3d'
    ]


def entry_of(name: str) -> Entry:
    """Return a network of the table."""
    return Entry(name, *TABLE[name])


def run_of(
    entry: Entry,
    data: list,
    scale: Scale,
    seed: int,
    prefix: str,
    changes: dict | None = None,
) -> Run:
    """Return the training of an entry, with changes to the settings of its training."""
    return Run(
        '{}/{}'.format(prefix, folder_name(entry.name)),
        entry.network,
        scale.applied(entry.settings),
        training_of(scale, entry.network, seed, changes),
        tuple(data),
    )


def folder_name(name: str) -> str:
    """Return a name as that of a folder."""
    return ''.join(c if c.isalnum() else '_' for c in name).strip('_').lower()


class Paper:
    """
    The experiments on one rendered set.

    Parameters
    ----------
    data : list of paths
        Sets of training.synthesize.
    out : Path
        Of trainings and results; what is finished there is kept.
    scale : Scale
    workers : int
        Processes that cut.
    say : callable
    """

    def __init__(self, data: list, out: Path, scale: Scale, workers: int = 1, say=print):
        self.data, self.out, self.scale, self.say = data, Path(out), scale, say
        self._workers = workers
        self._open = keep_open(data_of)
        self._examiner = Examiner(data, self.out / 'views')

    def _finished(self, run):
        return finish(run, self.out, self.say, self._open)

    def ladder(self, names=None) -> dict:
        """
        Train and judge the networks of the table; write ``ladder.json``.

        Each learns at the one of RATES after which, with the first seed, it knew validation best.

        Parameters
        ----------
        names : sequence of str, optional
            Of those that are to be trained; of the others, those that were trained before count.

        Raises
        ------
        DataError
            If there is no such network.
        """
        known = {entry.name: entry for entry in entries()}
        unknown = [name for name in names or () if name not in known]
        if unknown:
            raise DataError(
                'the table has no {}: choose of {}'.format(
                    ', '.join(map(repr, unknown)), ', '.join(map(repr, known))
                )
            )
        wanted = [
            entry
            for entry in known.values()
            if not names or entry.name in names or self._is_done(entry)
        ]
        return self._judged_rows(wanted, LADDER)

    def longer(self) -> dict:
        """Do the same for C3D, CS3D and SHIPPED alone, who may so learn for longer."""
        return self._judged_rows([entry_of(name) for name in (C3D, CS3D, SHIPPED)], LONGER)

    def _judged_rows(self, wanted, part) -> dict:
        rows = []
        for entry in wanted:
            cost = count(build(entry.network, **self.scale.applied(entry.settings)))
            rate = self._rate(entry, part)
            runs = [self._judged(entry, rate, seed, part) for seed in self.scale.seeds]
            rows.append(
                {
                    'name': entry.name,
                    'macs': cost.macs,
                    'parameters': cost.parameters,
                    'learning_rate': rate,
                    'runs': runs,
                }
            )
            result = {'rows': rows, 'rates': RATES}
            result = write_result(self.out, part, result, self.scale.note())
        return result

    def _rates_tried(self, entry, part) -> list:
        """Return the trainings that tell which learning rate suits a network."""
        # whole ones: what learns fastest at first is seldom what knows most in the end
        return [self._run(entry, rate, self.scale.seeds[0], part) for rate in RATES]

    def _rate(self, entry, part=LADDER) -> float:
        """Return the rate after which a network knows validation best."""
        tried = [self._finished(run) for run in self._rates_tried(entry, part)]
        scores = [-1.0 if t.failed else t.report['validation']['score'] for t in tried]
        return RATES[int(np.argmax(scores))]

    def _run(self, entry, rate, seed, part=LADDER):
        prefix = '{}/{:g}'.format(part, rate)
        changes = {LEARNING_RATE: rate}
        return self._cut(run_of(entry, self.data, self.scale, seed, prefix, changes))

    def _cut(self, run):
        return cut_once(run, self.scale, self.out, self._workers, self.say)

    def _is_done(self, entry):
        if not all(is_ended(run, self.out) for run in self._rates_tried(entry, LADDER)):
            return False
        rate = self._rate(entry)
        return all(is_ended(self._run(entry, rate, seed), self.out) for seed in self.scale.seeds)

    def _judged(self, entry, rate, seed, part):
        trained = self._finished(self._run(entry, rate, seed, part))
        if trained.failed:
            return {'seed': seed, 'failed': trained.failed}
        return {'seed': seed, **self._examiner.summary(trained)}

    def costs(self, rounds: int = ROUNDS, energy_s: float = ENERGY_S, widths=None) -> dict:
        """Measure every network at full widths and at those trained; write ``costs.json``."""
        by_width = {}
        for width in widths or dict.fromkeys((1.0, self.scale.width)):
            self.say('costs at widths x {:g}'.format(width))
            by_width['{:g}'.format(width)] = costs_at(width, rounds, energy_s)
        source = (
            'multiply-adds times {:.1f} pJ, of 32-bit floating point in 45 nm silicon (Horowitz, '
            'ISSCC 2014), without memory; {:.1f} pJ of it is the addition.'
        ).format(MAC_J * 1e12, ADDITION_J * 1e12)
        result = {'machine': machine(), 'widths': by_width, 'energy_source': source}
        return write_result(self.out, 'costs', result)

    def sensitivity(self, thetas=THETAS, betas=BETAS, share: float = 0.25) -> dict:
        """
        Train SHIPPED over a grid of theta and beta, one seed; write ``sensitivity.json``.

        Each training is a share of those of the ladder.
        """
        scale = self.scale.share(share)._replace(seeds=self.scale.seeds[:1])
        cells = []
        for theta in thetas:
            for beta in betas:
                settings = {**TABLE[SHIPPED][1], 'theta': theta, 'beta': beta}
                entry = Entry('theta {:g} beta {:g}'.format(theta, beta), 'cs3d', settings)
                run = run_of(entry, self.data, scale, scale.seeds[0], 'sensitivity')
                trained = self._finished(self._cut(run))
                cells.append({'theta': theta, 'beta': beta, **self._cell(trained)})
                result = {'network': SHIPPED, 'thetas': thetas, 'betas': betas, 'cells': cells}
                result = write_result(self.out, 'sensitivity', result, scale.note())
        return result

    def _cell(self, trained):
        if trained.failed:
            return {'failed': trained.failed}
        found = self._examiner.summary(trained)
        # of the standard condition there are few answers: chance moves a cell by 8 points
        return {'mean_recall': found['all']['mean_recall'], 'signs': found['signs']}

    def light(self, grey=None) -> dict:
        """
        Judge SHIPPED over the levels of light, on events and grey frames; write ``light.json``.

        Parameters
        ----------
        grey : training.experiments.grey.Grey, optional
            What the same network answers to grey frames of the same scenes. Its clips are then
            all that is learnt from, also of events, so that nothing differs but the camera.
        """
        entry, data, examiner = entry_of(SHIPPED), self.data, self._examiner
        if grey:
            data, examiner = [grey.view], Examiner([grey.view], self.out / 'views' / 'lit')
        found = {'events': {}, 'grey': {}}
        for seed in self.scale.seeds:
            run = (
                self._cut(run_of(entry, data, self.scale, seed, 'light'))
                if grey
                else self._run(entry, self._rate(entry), seed)
            )
            trained = self._finished(run)
            by_kind = {'events': {} if trained.failed else examiner.summary(trained)['conditions']}
            if grey:
                by_kind['grey'] = grey.judge(entry, seed)
            for kind, conditions in by_kind.items():
                for condition in set(LIGHT) & set(conditions):
                    found[kind].setdefault(condition, []).append(conditions[condition])
        levels = [condition for condition in LIGHT if condition in found['events']]
        # what was filmed is cut anew for every window
        is_uneven = bool(grey and self.scale.variations)
        result = {'network': SHIPPED, 'levels': levels, 'is_uneven': is_uneven, **found}
        return write_result(self.out, 'light', result, self.scale.note())


def costs_at(width: float, rounds: int, energy_s: float) -> dict:
    """Return what every network costs at a width, counted and measured."""
    networks = {
        entry.name: build(
            entry.network, **{'outputs': len(LABELS), **entry.settings, 'width': width}
        ).eval()
        for entry in entries()
    }
    with tempfile.TemporaryDirectory() as folder:
        models = {
            name: _written(network, Path(folder), name) for name, network in networks.items()
        }
        models = {name: own for name, own in models.items() if own}
        measured = measure(models, networks, rounds, energy_s)
    return {
        name: {
            **{
                field: getattr(cost, field) for field in ('macs', 'parameters', 'activation_bytes')
            },
            'energy_mj': 1e3 * cost.energy_j,
            **measured[name],
        }
        for name, cost in ((name, count(network)) for name, network in networks.items())
    }


def _written(network, folder, name) -> dict:
    """Return the ONNX models of a network by precision, written; none of what no robot runs."""
    try:
        model = onnx_model(network)
    except ExportError:
        return {}
    size = network.settings.size
    frames = (128 + 128 * event_like((CALIBRATION_FRAMES, size, size))).astype(np.uint8)
    paths = {}
    # the scales of 8 bits are those of random events: right for times, useless for answers
    for kind, own in (('onnx', model), ('int8', quantized(model, [frames], CALIBRATION_RUNS))):
        paths[kind] = folder / '{}.{}.onnx'.format(folder_name(name), kind)
        paths[kind].write_bytes(own.SerializeToString())
    return paths


def cross(sets: dict, out: Path, scale: Scale, workers: int = 1, say=print) -> dict:
    """
    Train SHIPPED on each set, test it on every one; write ``cross.json``.

    Parameters
    ----------
    sets : dict
        Folders by the name that the table gives them.
    out : Path
    scale : Scale
    workers : int
        Processes that cut.
    say : callable
    """
    entry = entry_of(SHIPPED)
    examiners = {
        name: Examiner([folder], out / 'views' / folder_name(name), live)
        for name, folder in sets.items()
    }
    pairs = []
    for name, folder in sets.items():
        prefix = 'cross/' + folder_name(name)
        runs = [
            cut_once(run_of(entry, [folder], scale, seed, prefix), scale, out, workers, say)
            for seed in scale.seeds
        ]
        trained = [finish(run, out, say) for run in runs]
        for tested, examiner in examiners.items():
            rows = [
                {'seed': t.run.training.seed, 'failed': t.failed}
                if t.failed
                else {'seed': t.run.training.seed, **examiner.summary(t)['all']}
                for t in trained
            ]
            pairs.append(
                {
                    'train': name,
                    'test': tested,
                    'trials': max((row.get('trials', 0) for row in rows), default=0),
                    'runs': rows,
                }
            )
            result = {'network': SHIPPED, 'pairs': pairs}
            result = write_result(out, 'cross', result, scale.note())
    return result
