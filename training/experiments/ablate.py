"""What each ingredient of data, learning and settling brings, on strangers and on real people."""

from pathlib import Path

from training.cuts import keep_open
from training.data.clips import ClipSet, DataError
from training.experiments.campaign import (
    Run,
    cut_once,
    finish,
    is_ended,
    training_of,
)
from training.experiments.candidates import RULE, score, settled_on, strangers, watch_all
from training.experiments.examine import Examiner, live
from training.experiments.grey_camera import plan_of
from training.experiments.paper import folder_name
from training.experiments.reported import SHIPPED
from training.experiments.results import write_result
from training.experiments.variants import BASE, Variant
from training.experiments.views import write_view
from training.models.counter import TABLE
from training.synthesize import local_workers, synthesize
from training.train import data_of


class Ablation:
    """
    The variants of a data set, each trained and judged once per seed; the base is SHIPPED.

    Parameters
    ----------
    data : Path
        A set of training.synthesize.
    out : Path
        Of trainings, bundles, sets without ingredients and the result, ``ablation.json``.
    scale : Scale
    videos : Path, optional
        Labelled videos of real people.
    say : callable
    """

    def __init__(self, data: Path, out: Path, scale, videos: Path | None = None, say=print):
        self.data, self.out, self.scale, self.say = Path(data), Path(out), scale, say
        self._watched = watch_all(videos) if videos else []
        self._strangers = strangers(self.data)
        self._open = keep_open(data_of)
        self._examiner = Examiner([self.data], self.out / 'views', live)

    def run(self, variants, clips: int, workers: int, names=None) -> dict:
        """
        Return the result of the variants, which is also written after each of them.

        Parameters
        ----------
        variants : sequence of Variant
        clips : int
            Of the sets from which an ingredient is left out, and of their base.
        workers : int
            Processes that make those sets, and cuts.
        names : sequence of str, optional
            Of those that are to be trained, their bases with them; of the others, those that ask
            for no training any more count.
        """
        wanted = {v.name for v in variants if not names or v.name in names}
        wanted |= {v.base for v in variants if v.name in wanted}
        listed = [v for v in variants if v.name in wanted or self._is_done(v, clips, workers)]
        rows = []
        for variant in listed:
            source = self._source(variant, clips, workers)
            runs = [self._judged(variant, source, seed, workers) for seed in self.scale.seeds]
            row = {'name': variant.name, 'changes': variant.changes, 'base': variant.base}
            rows.append({**row, 'runs': runs})
            result = {'rule': RULE, 'rows': rows}
            result = write_result(self.out, 'ablation', result, self.scale.note())
        return result

    def _is_done(self, variant, clips, workers):
        source = self._place(variant, clips)
        runs = [self._run(variant, source, seed) for seed in self.scale.seeds]
        # what never began was not cut either, and is not to be cut for this question
        if not (source.exists() and (self.out / 'runs' / runs[0].name).exists()):
            return False
        return all(is_ended(self._cut(run, workers), self.out) for run in runs)

    def _place(self, variant, clips) -> Path:
        """Return the folder that a variant learns from, which need not be there yet."""
        if variant.same_data:
            return self.data
        name = 'without-' + '-'.join(variant.without) if variant.without else 'first'
        return self.out / 'sets' / '{}-{}'.format(name, clips)

    def _source(self, variant: Variant, clips, workers) -> Path:
        """Return the folder that a variant learns from, made if it is not there."""
        folder = self._place(variant, clips)
        if variant.without:
            plan = plan_of(self.data)._replace(without=tuple(sorted(variant.without)))
            synthesize(plan, folder, clips, local_workers(workers))
        elif not variant.same_data:
            self._write_first(folder, clips)
        return folder

    def _write_first(self, folder, clips):
        """Write a set of the first clips, as many as those have that lack an ingredient."""
        known = sum(entry['index'] < clips for entry in ClipSet(self.data).entries)
        if known < clips:
            raise DataError(
                '{} holds {} of the {} clips that its base is to learn from: ask for fewer by '
                '--clips, or render more'.format(self.data, known, clips)
            )
        write_view(folder, [self.data], lambda entry: entry if entry['index'] < clips else None)

    def _network_settings(self, variant):
        network, settings = variant.network
        return self.scale.applied({**(TABLE[SHIPPED][1] if network == 'cs3d' else {}), **settings})

    def _run(self, variant, source, seed):
        """Return the training of a variant."""
        name = variant.name if variant.trains else BASE
        network = variant.network[0]
        return Run(
            'ablation/' + folder_name(name),
            network,
            self._network_settings(variant),
            training_of(self.scale, network, seed, variant.training),
            (source,),
        )

    def _cut(self, run, workers):
        return cut_once(run, self.scale, self.out, workers, self.say)

    def _judged(self, variant, source, seed, workers):
        run = self._cut(self._run(variant, source, seed), workers)
        trained = finish(run, self.out, self.say, self._open)
        if trained.failed:
            return {'seed': seed, 'failed': trained.failed}
        summary = self._examiner.summary(trained)
        standard, hard = summary['standard'], summary['hard']
        bundle, reach_ms = self._examiner.bundle(trained), run.training.background_activity_ms
        way = variant.settling, variant.baseline, reach_ms
        real = settled_on(bundle, self._watched, *way) if self._watched else None
        return {
            'seed': seed,
            'standard': standard['mean_recall'] if standard else None,
            'hard': hard,
            'settled': settled_on(bundle, self._strangers, *way) if self._strangers else None,
            'real': real,
            'score': score(hard, real),
        }
