"""Making a data set: plans, workers, resuming, and what goes wrong meanwhile."""

import errno
import os
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('numba')
pytest.importorskip('cv2')
pytest.importorskip('h5py')

import dask
import distributed
from fabricated import make_clip

from cs3d_ros import Cs3dError
from training import synthesize
from training.data.clips import ClipSet, DataError, pack_shard
from training.data.plan import CLASS_BLOCK, SetPlan, split_skins
from training.data.studio import Shard, Studio, make_shard
from training.data.world import ACTED, CONDITIONS
from training.synthesize import local_workers, main, remote_workers

SKINS = tuple(
    '{}_{}skinned_{}male'.format(age, tone, sex)
    for age in ('young', 'old')
    for tone in ('dark', 'light')
    for sex in ('', 'fe')
)


def plans(count, **settings):
    return [SetPlan(**settings).clip(index) for index in range(count)]


def test_each_test_condition_has_all_classes_evenly():
    count = len(CONDITIONS) * len(CLASS_BLOCK)
    tests = [p for p in plans(5 * count + 10) if p.split == 'test'][:count]  # two of ten
    seen = Counter((p.condition, p.label) for p in tests)
    assert seen == {
        (condition, label): CLASS_BLOCK.count(label) for condition in CONDITIONS for label in ACTED
    }


def test_training_is_mostly_standard_and_sees_every_condition():
    seen = Counter(p.condition for p in plans(3000) if p.split == 'train')
    assert set(seen) == set(CONDITIONS)
    assert seen['standard'] / seen.total() == pytest.approx(0.6, abs=0.04)
    assert min(seen.values()) > 0.03 * seen.total()


def test_chosen_conditions_are_the_only_ones():
    chosen = ('pose', 'distance')
    assert {p.condition for p in plans(100, conditions=chosen)} == set(chosen)
    assert {p.condition for p in plans(100, conditions=('standard',))} == {'standard'}


def test_classes_are_balanced_in_training():
    count = 19 * 100 // 7  # at least ten blocks
    labels = [p.label for p in plans(count) if p.split == 'train'][: 10 * len(CLASS_BLOCK)]
    assert Counter(labels) == {name: 10 * CLASS_BLOCK.count(name) for name in ACTED}


def test_no_identity_is_in_two_splits():
    owners = {}
    for plan in plans(500):
        owners.setdefault(plan.identity, set()).add(plan.split)
    assert all(len(splits) == 1 for splits in owners.values())


def test_two_seeds_show_other_people():
    assert not {p.identity for p in plans(50, seed=1)} & {p.identity for p in plans(50, seed=2)}


@pytest.mark.parametrize('names', [SKINS, tuple('procedural_' + n for n in SKINS)])
def test_splits_share_no_skin_and_each_has_dark_and_light_ones(names):
    out = split_skins(names)
    assert sorted(sum(out.values(), ())) == sorted(names)
    for own in out.values():
        assert {'dark' in name for name in own} == {True, False}


def test_too_few_skins_for_three_splits_are_refused():
    with pytest.raises(Cs3dError, match='three dark and three light'):
        split_skins(SKINS[:4])


def fake_shard(plan, shard, assets_folder, version):
    """Stand in for make_shard: dots instead of faces."""
    clips = []
    for index in range(shard.first, shard.end):
        own = plan.clip(index)
        rng = np.random.default_rng([plan.seed, index])
        clip = make_clip(index, own.split, own.identity, 'happy', rng)
        clips.append(replace(clip, entry=dict(clip.entry, condition=own.condition)))
    return pack_shard(clips)


@pytest.fixture(scope='module')
def threads():
    """Return what enters as a client of two workers in this process."""
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address='127.0.0.1:0'
    )
    with cluster, distributed.Client(cluster) as client:

        @contextmanager
        def enter():
            yield client

        yield enter


@pytest.fixture
def make(tmp_path, threads, monkeypatch):
    """Return a function that makes clips of dots into tmp_path / 'set'."""
    monkeypatch.setattr(synthesize, 'make_shard', fake_shard)
    monkeypatch.setattr(synthesize, 'load_assets', lambda folder: type('_', (), {'skins': SKINS}))

    def make(clips, **settings):
        folder = tmp_path / 'set'
        synthesize.synthesize(SetPlan(**settings), folder, clips, threads(), None)
        return folder

    return make


def stamps(folder):
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.glob('*.h5')}


def test_all_clips_are_made_once(make):
    assert [entry['index'] for entry in ClipSet(make(34)).entries] == list(range(34))


def test_finished_shards_are_kept_and_missing_ones_made(make):
    folder = make(40)
    before = stamps(folder)
    (folder / 'shard_00002.h5').unlink()
    after = stamps(make(40))
    assert {name for name in before if before[name] != after[name]} == {'shard_00002.h5'}
    assert stamps(make(40)) == after


def test_set_grows_by_asking_for_more(make):
    before = stamps(make(15))
    folder = make(30)
    assert [entry['index'] for entry in ClipSet(folder).entries] == list(range(30))
    assert stamps(folder)['shard_00000.h5'] == before['shard_00000.h5']


def test_asking_for_fewer_takes_none_away(make):
    make(30)
    assert len(ClipSet(make(10))) == 30


def test_damaged_shard_is_named_with_the_cure(make):
    folder = make(10)
    path = folder / 'shard_00000.h5'
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r'shard_00000\.h5.*delete it'):
        make(10)


@pytest.mark.parametrize(
    'settings', [{'seed': 2}, {'width': 300}, {'without': ('hands',)}, {'conditions': ('pose',)}]
)
def test_folder_of_another_set_is_refused(make, settings):
    make(10)
    with pytest.raises(DataError, match=r'set\.json is of another set.*another folder'):
        make(10, **settings)


def test_folder_of_another_version_is_refused(make, monkeypatch):
    make(10)
    monkeypatch.setattr(synthesize, 'world_version', lambda: 'newer')
    with pytest.raises(DataError, match='world .*now newer'):
        make(10)


def test_folder_with_shards_of_no_known_set_is_refused(make, tmp_path):
    make(10)
    (tmp_path / 'set' / 'set.json').unlink()
    with pytest.raises(DataError, match=r'no set\.json'):
        make(10)


def test_spoilt_description_is_refused(make, tmp_path):
    (make(10) / 'set.json').write_text('[1')
    with pytest.raises(DataError, match='does not tell what set'):
        make(10)


def full_after(count):
    """Return an os.fsync for a disk that holds so many files."""
    left = [count]

    def fsync(_):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fsync


def test_full_disk_leaves_finished_shards_whole_and_no_half(make, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', full_after(3))  # set.json and two shards
        with pytest.raises(DataError, match='No space left on device.*run the command again'):
            make(50)
    kept = stamps(tmp_path / 'set')
    assert len(kept) == 2 and len(list((tmp_path / 'set').iterdir())) == 3
    assert len(ClipSet(tmp_path / 'set')) == 20
    after = stamps(make(50))
    assert len(after) == 5 and all(after[name] == kept[name] for name in kept)


def test_interrupt_keeps_finished_shards(make, tmp_path, monkeypatch):
    written, write = [], synthesize.write_whole

    def interrupted(path, content):
        if len(written) == 3:
            raise KeyboardInterrupt
        write(path, content)
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(synthesize, 'write_whole', interrupted)
        with pytest.raises(KeyboardInterrupt):
            make(50)
    assert len(ClipSet(tmp_path / 'set')) == 20
    assert len(ClipSet(make(50))) == 50


def test_no_more_shards_wait_in_memory_than_workers_need(make, monkeypatch):
    started, ahead, write = [], [], synthesize.write_whole

    def counted(*arguments):
        started.append(arguments)
        return fake_shard(*arguments)

    def slow(path, content):
        time.sleep(0.02)
        ahead.append(len(started) - len(ahead))
        write(path, content)

    monkeypatch.setattr(synthesize, 'make_shard', counted)
    monkeypatch.setattr(synthesize, 'write_whole', slow)
    make(200)
    assert max(ahead) <= 2 * 2 + 2


def test_error_of_a_worker_is_told_with_its_shard(make, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError('no light')

    monkeypatch.setattr(synthesize, 'make_shard', broken)
    with pytest.raises(
        Cs3dError, match=r'shard_0000\d\.h5 cannot be made: ZeroDivision.*no light'
    ):
        make(10)


def test_worker_with_another_version_is_refused():
    with pytest.raises(Cs3dError, match='install the same'):
        make_shard(SetPlan(), Shard(0, 0, 1), None, 'older')


def dying_shard(plan, shard, assets_folder, version):
    """End the worker the first time, which assets_folder remembers."""
    token = Path(assets_folder)
    if token.exists():
        if token.read_text() != 'always':
            token.unlink()
        os._exit(1)
    return fake_shard(plan, shard, assets_folder, version)


def test_shard_of_a_worker_that_dies_is_made_by_another(make, tmp_path, monkeypatch):
    (tmp_path / 'token').write_text('once')
    monkeypatch.setattr(synthesize, 'make_shard', dying_shard)
    synthesize.synthesize(SetPlan(), tmp_path / 'set', 10, local_workers(1), tmp_path / 'token')
    assert not (tmp_path / 'token').exists()
    assert len(ClipSet(tmp_path / 'set')) == 10


def test_workers_that_die_again_and_again_are_told(make, tmp_path, monkeypatch):
    (tmp_path / 'token').write_text('always')
    monkeypatch.setattr(synthesize, 'make_shard', dying_shard)
    with dask.config.set({'distributed.scheduler.allowed-failures': 0}):
        with pytest.raises(Cs3dError, match='died one after the other'):
            synthesize.synthesize(
                SetPlan(), tmp_path / 'set', 10, local_workers(1), tmp_path / 'token'
            )


def test_scheduler_that_does_not_answer_is_told_in_time(monkeypatch):
    monkeypatch.setattr(synthesize, 'SCHEDULER_TIMEOUT_S', 0.5)
    began = time.monotonic()
    with pytest.raises(Cs3dError, match='no scheduler answers at tcp://127.0.0.1:9 '):
        with remote_workers('tcp://127.0.0.1:9'):
            pass
    assert time.monotonic() - began < 10.0


@pytest.mark.parametrize('address', ['nowhere://host', 'tcp://127.0.0.1', 'tcp://host:x'])
def test_address_that_is_none_is_told(address, monkeypatch):
    monkeypatch.setattr(synthesize, 'SCHEDULER_TIMEOUT_S', 0.5)
    with pytest.raises(Cs3dError, match='no scheduler answers'):
        with remote_workers(address):
            pass


def test_scheduler_without_workers_is_told(monkeypatch):
    monkeypatch.setattr(synthesize, 'WORKERS_TIMEOUT_S', 0.2)
    with distributed.LocalCluster(
        n_workers=0, host='127.0.0.1', dashboard_address='127.0.0.1:0'
    ) as cluster:
        with pytest.raises(Cs3dError, match='has no workers: start some'):
            with remote_workers(cluster.scheduler_address):
                pass


def test_workers_of_a_scheduler_make_the_clips(make, tmp_path):
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, host='127.0.0.1', dashboard_address='127.0.0.1:0'
    ) as cluster:
        workers = remote_workers(cluster.scheduler_address)
        synthesize.synthesize(SetPlan(), tmp_path / 'set', 20, workers)
        assert len(ClipSet(tmp_path / 'set')) == 20


@pytest.fixture(scope='module')
def real_set(shared_data, tmp_path_factory):
    """Return a folder of three small rendered clips, a shard each, made by two processes."""
    folder = tmp_path_factory.mktemp('real') / 'set'
    common = ['--clips', '3', '--seed', '3', '--size', '80x64', '--assets', str(shared_data)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesize, 'CLIPS_PER_SHARD', 1)
        assert main(['--out', str(folder), '--workers', '2'] + common) == 0
    return folder


def test_rendered_clips_do_not_depend_on_the_workers(real_set, shared_data):
    studio = Studio(SetPlan(3, 80, 64), shared_data)
    for index in (2, 0, 1):  # in an order of their own, as on another worker
        path = real_set / 'shard_0000{}.h5'.format(index)
        assert path.read_bytes() == pack_shard([studio.make(index)])


def test_rendered_clips_agree_with_their_entries(real_set):
    clips = ClipSet(real_set)
    assert [entry['index'] for entry in clips.entries] == [0, 1, 2]
    for clip in map(clips.__getitem__, range(3)):
        shown = {ACTED[k] for k in clip.truth.expression}
        assert (clip.events.width, clip.events.height) == (80, 64)
        assert shown <= {'neutral', *clip.entry['expressions']}
        assert clip.entry['duration_s'] == pytest.approx(len(clip.truth.t_ns) / 60)
        assert len(clip.events) > 10


def run(*arguments):
    return main(['--out', 'unused', '--clips', '1', *arguments])


def test_unknown_ingredient_is_told_with_those_there_are(capsys):
    assert run('--without', 'magic') == 1
    assert 'choose of skin_texture' in capsys.readouterr().err


@pytest.mark.parametrize(
    'arguments, complaint',
    [
        (['--size', '346'], '346x260'),
        (['--size', '8x8'], '64 to 2048'),
        (['--workers', '0'], 'above 0'),
        (['--clips', 'many'], 'above 0'),
        (['--conditions', 'fog'], 'invalid choice'),
        (['--workers', '1', '--scheduler', 'tcp://a:1'], 'not allowed with'),
    ],
)
def test_words_that_make_no_sense_are_told(arguments, complaint, capsys):
    with pytest.raises(SystemExit):
        run(*arguments)
    assert complaint in capsys.readouterr().err


def test_missing_assets_are_told_before_anything_is_made(tmp_path, capsys):
    out = tmp_path / 'set'
    assert main(['--out', str(out), '--clips', '1', '--assets', str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err and not out.exists()
