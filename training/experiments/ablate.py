"""What each ingredient of data, learning and settling brings, on strangers and on real people."""

from pathlib import Path

from training.data.clips import ClipSet, DataError
from training.experiments.campaign import Run, cut_once, finish, opened_once, training_of
from training.experiments.candidates import RULE, score, settled_on, strangers, watch_all
from training.experiments.examine import Examiner, live
from training.experiments.grey_camera import plan_of
from training.experiments.paper import SHIPPED, folder_name
from training.experiments.results import write_result
from training.experiments.variants import BASE, Variant
from training.experiments.views import write_view
from training.models.counter import TABLE
from training.synthesize import local_workers, synthesize


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
        self._open = opened_once()
        self._examiner = Examiner([self.data], self.out / 'views', live)

    def run(self, variants, clips: int, workers: int) -> dict:
        """
        Return the result of the variants, which is also written after each of them.

        Parameters
        ----------
        variants : sequence of Variant
        clips : int
            Of the sets from which an ingredient is left out, and of their base.
        workers : int
            Processes that make those sets, and cuts.
        """
        rows = []
        for variant in variants:
            source = self._source(variant, clips, workers)
            runs = [self._judged(variant, source, seed, workers) for seed in self.scale.seeds]
            row = {'name': variant.name, 'changes': variant.changes, 'base': variant.base}
            rows.append({**row, 'runs': runs})
            result = {'rule': RULE, 'rows': rows}
            result = write_result(self.out, 'ablation', result, self.scale.note())
        return result

    def _source(self, variant: Variant, clips, workers) -> Path:
        """Return the folder that a variant learns from."""
        if variant.same_data:
            return self.data
        if not variant.without:
            return self._first(clips)
        folder = self.out / 'sets' / 'without-{}-{}'.format('-'.join(variant.without), clips)
        plan = plan_of(self.data)._replace(without=tuple(sorted(variant.without)))
        synthesize(plan, folder, clips, local_workers(workers))
        return folder

    def _first(self, clips):
        """Return a set of the first clips, as many as those have that lack an ingredient."""
        known = sum(entry['index'] < clips for entry in ClipSet(self.data).entries)
        if known < clips:
            raise DataError(
                '{} holds {} of the {} clips that its base is to learn from: ask for fewer by '
                '--clips, or render more'.format(self.data, known, clips)
            )
        return write_view(
            self.out / 'sets' / 'first-{}'.format(clips),
            [self.data],
            lambda entry: entry if entry['index'] < clips else None,
        )

    def _network_settings(self, variant):
        network, settings = variant.network
        return self.scale.applied({**(TABLE[SHIPPED][1] if network == 'cs3d' else {}), **settings})

    def _judged(self, variant, source, seed, workers):
        name = variant.name if variant.trains else BASE
        network = variant.network[0]
        run = Run(
            'ablation/' + folder_name(name),
            network,
            self._network_settings(variant),
            training_of(self.scale, network, seed, variant.training),
            (source,),
        )
        run = cut_once(run, self.scale, self.out, workers, self.say)
        trained = finish(run, self.out, self.say, self._open)
        if trained.failed:
            return {'seed': seed, 'failed': trained.failed}
        summary = self._examiner.summary(trained)
        standard, hard = summary['standard']['mean_recall'], summary['hard']
        bundle, reach_ms = self._examiner.bundle(trained), run.training.background_activity_ms
        way = variant.settling, variant.baseline, reach_ms
        real = settled_on(bundle, self._watched, *way) if self._watched else None
        return {
            'seed': seed,
            'standard': standard,
            'hard': hard,
            'settled': settled_on(bundle, self._strangers, *way) if self._strangers else None,
            'real': real,
            'score': score(hard, real),
        }
