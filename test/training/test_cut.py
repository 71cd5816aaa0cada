import dataclasses
import json
import os

import numpy as np
import pytest

pytest.importorskip('torch')

from fabricated import PLACES, make_set, write_set

from cs3d_ros.inference.emotion import EXPRESSIONS
from training.calibrate import validation_sequences
from training.cut import cut_all, main
from training.cuts import LEAST_FRAMES, read_cuts
from training.data.clips import DataError, write_shard
from training.experiments.views import write_view
from training.sequences import Sequence
from training.settings import TrainSettings
from training.targets import LABELS, UNCHANGED
from training.train import asked, data_of, train

SIZE, FRAMES = 48, 72  # clips have 84, so that many sequences begin where their clip does


def settings(cuts='', learns='windows', **others):
    return TrainSettings(
        learns=learns, cuts=str(cuts), sequence_frames=FRAMES, augment=(), **others
    )


def cut(folder, out, *options):
    line = [folder, '--out', out, '--size', SIZE, '--sequence-frames', FRAMES, '--workers', 1]
    main([str(word) for word in (*line, *options)])
    return out


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('set') / 'set', clips_per_expression=1)


@pytest.fixture(scope='module')
def cuts(folder, tmp_path_factory):
    return cut(folder, tmp_path_factory.mktemp('cuts') / 'cuts', '--variations', 6, '--augment')


def opened(folder, cuts, split, learns):
    """Return a split twice: as it was cut before, and cut out of events."""
    both = (settings(found, learns) for found in (cuts, ''))
    return [data_of([folder], split, one, SIZE) for one in both]


def test_windows_of_whole_clips_are_those_that_are_cut_out_of_events(folder, cuts):
    kept, live = opened(folder, cuts, 'val', 'windows')
    pairs = list(zip(*(data.fixed_windows(np.random.default_rng(0)) for data in (kept, live))))
    assert len(pairs) > len(EXPRESSIONS)
    for one, other in pairs:
        np.testing.assert_array_equal(kept.cut(one), live.cut(other))


def test_whole_clips_are_those_that_are_cut_out_of_events(folder, cuts):
    kept, live = opened(folder, cuts, 'test', 'sequences')
    for one, other in zip(kept.fixed_sequences(), live.fixed_sequences()):
        np.testing.assert_array_equal(kept.cut(one), live.cut(other))


def place(frames):
    """Return where most happens in frames, less what happens everywhere; (x, y) from 0 to 1."""
    busy = np.abs(frames.astype(float) - 128).sum(0)
    busy[busy < 0.5 * busy.max()] = 0
    y, x = np.indices(busy.shape)
    return (busy * x).sum() / busy.sum() / SIZE, (busy * y).sum() / busy.sum() / SIZE


def test_windows_show_what_their_labels_say(folder, cuts):
    kept, live = opened(folder, cuts, 'train', 'windows')
    found, wanted = (data.batch(64, np.random.default_rng(1)) for data in (kept, live))
    assert (
        np.bincount(found.changing[:, 0]).tolist() == np.bincount(wanted.changing[:, 0]).tolist()
    )
    for data in (found, wanted):
        at = {label: [] for label in range(UNCHANGED)}
        for frames, label in zip(data.frames, data.changing[:, 0]):
            if label < UNCHANGED:
                at[label].append(place(frames))
        places = {LABELS[label]: np.median(found, 0) for label, found in at.items()}
        far = [
            np.hypot(*(places[a] - places[b]))
            for a in PLACES
            for b in PLACES
            if a < b and a in places and b in places
        ]
        assert min(far) > 0.1, places


def test_sequences_are_balanced_and_told_as_live_ones_are(folder, cuts):
    kept, live = opened(folder, cuts, 'train', 'sequences')
    found, wanted = (data.batch(180, np.random.default_rng(2)) for data in (kept, live))
    for name in ('worn', 'changing'):
        shares = [
            np.bincount(getattr(data, name).ravel(), minlength=8) / getattr(data, name).size
            for data in (found, wanted)
        ]
        assert np.abs(shares[0] - shares[1]).max() < 0.08, (name, shares)
    assert abs(found.worn_weight.mean() - wanted.worn_weight.mean()) < 0.1
    busy = [(data.frames != 128).mean() for data in (found, wanted)]
    assert 0.7 < busy[0] / busy[1] < 1.4


def test_every_sequence_has_the_targets_of_its_own_frames(folder, cuts):
    kept, _ = opened(folder, cuts, 'train', 'sequences')
    clips = {clip.digest: clip for clip in kept.clips}
    wanted = {}
    for mark, found in read_cuts(cuts, settings(cuts), SIZE).items():
        for blank, sequence, frames in found if mark in clips else []:
            targets = Sequence(clips[mark], *sequence).targets(
                kept.settings.period_ns, kept.doubt_weight, blank
            )
            wanted[frames.tobytes()] = targets
    assert len(wanted) > 30
    examples = kept.batch(400, np.random.default_rng(4))
    for frames, *targets in zip(*examples):
        for one, other in zip(targets, wanted[frames.tobytes()]):
            np.testing.assert_array_equal(one, other)


def test_windows_begin_with_still_frames_where_their_sequences_begin(folder, cuts):
    kept, _ = opened(folder, cuts, 'train', 'windows')
    frames = kept.batch(400, np.random.default_rng(3)).frames
    still = (frames == 128).all((2, 3))
    leading = np.logical_and.accumulate(still, 1).sum(1)
    assert leading.max() > 4
    padding = np.full((16 - LEAST_FRAMES, SIZE, SIZE), 128, np.uint8)
    possible = set()
    for found in read_cuts(cuts, settings(cuts), SIZE).values():
        for _, _, sequence in found:
            padded = np.concatenate([padding, sequence])
            possible |= {padded[k : k + 16].tobytes() for k in range(len(padded) - 15)}
    assert {window.tobytes() for window in frames} <= possible


def test_only_what_was_asked_for_varies_again(folder, tmp_path):
    line = ['--variations', 1, '--augment']
    for kinds in ((), ('mirror',), ('crop',)):
        own = cut(folder, tmp_path / '-'.join(('cuts', *kinds)), *line, *kinds)
        asked_for = dataclasses.replace(settings(own, 'sequences'), augment=kinds)
        data = data_of([folder], 'train', asked_for, SIZE)
        kept = {
            frames.tobytes(): frames
            for found in read_cuts(own, asked_for, SIZE).values()
            for _, _, frames in found
        }
        batch = data.batch(60, np.random.default_rng(5)).frames
        as_kept = sum(frames.tobytes() in kept for frames in batch)
        turned = sum(frames[:, :, ::-1].tobytes() in kept for frames in batch)
        if kinds == ('mirror',):
            assert as_kept + turned == 60 and min(as_kept, turned) > 10
        else:
            assert as_kept == (0 if kinds else 60)


def test_clips_that_come_later_are_left_out(folder, cuts, tmp_path):
    grown = tmp_path / 'grown'
    grown.mkdir()
    for path in folder.iterdir():
        (grown / path.name).write_bytes(path.read_bytes())
    kept = data_of([grown], 'train', settings(cuts, 'sequences'), SIZE)
    before = len(kept.clips)
    others = write_set(tmp_path / 'others', clips_per_expression=1, suffix='x')
    (grown / 'c.h5').write_bytes((others / 'a.h5').read_bytes())
    assert (kept.take_in(), len(kept.clips)) == (0, before)
    assert len(kept.batch(64, np.random.default_rng(5)).frames) == 64


def test_cuts_serve_views_of_the_set(folder, cuts, tmp_path):
    sad = write_view(
        tmp_path / 'sad', [folder], lambda e: e if e['label'] in ('sad', 'happy') else None
    )
    kept, live = opened(sad, cuts, 'test', 'sequences')
    for one, other in zip(kept.fixed_sequences(), live.fixed_sequences()):
        np.testing.assert_array_equal(kept.cut(one), live.cut(other))


def test_clips_of_another_split_were_not_cut_for_it(folder, cuts, tmp_path):
    other = {'train': 'test', 'val': 'val', 'test': 'train'}
    swapped = write_view(tmp_path / 'view', [folder], lambda e: {**e, 'split': other[e['split']]})
    refused(swapped, cuts, '7 of 7 clips were not cut')


def test_open_cuts_hold_no_file_open(folder, cuts):
    before = len(os.listdir('/proc/self/fd'))
    kept = data_of([folder], 'train', settings(cuts), SIZE)
    kept.batch(16, np.random.default_rng(0))
    assert len(os.listdir('/proc/self/fd')) == before


def test_expressions_that_no_split_shows_are_not_asked_for(tmp_path):
    some = tmp_path / 'some'
    some.mkdir()
    write_shard(some / 'a.h5', [c for c in make_set(1) if c.entry['label'] != 'sad'])
    own = cut(some, tmp_path / 'cuts', '--variations', 4, '--augment')
    for learns in ('windows', 'sequences'):
        data = data_of([some], 'train', settings(own, learns), SIZE)
        changing = data.batch(32, np.random.default_rng(0)).changing
        assert set(changing.ravel()) == set(range(len(LABELS))) - {LABELS.index('sad')}


def test_settling_is_fitted_without_the_cuts_of_a_training(folder, cuts, tmp_path):
    gone = settings(tmp_path / 'gone', 'sequences').as_dict()
    watched = validation_sequences([folder], gone, SIZE)
    kept = data_of([folder], 'val', settings(cuts, 'sequences'), SIZE)
    assert len(watched) == len(kept.clips)
    for one, sequence in zip(watched, kept.fixed_sequences()):
        np.testing.assert_array_equal(one.frames, kept.cut(sequence))


def trained(folder, cuts, out, say=lambda line: None):
    args, network, chosen = asked(
        [str(folder), '--out', str(out), '--model', 'cs3d', '--size', str(SIZE)]
        + '--width 0.0625 --head gap --stem-filters 2 --epochs 1 --examples-per-epoch 16'.split()
        + ['--batch', '8', '--threads', '1', '--sequence-frames', str(FRAMES), '--augment']
        + ['--cuts', str(cuts)]
    )
    return train(args.data, args.out, network, chosen, say)


def test_training_reads_cuts(folder, cuts, tmp_path):
    report = trained(folder, cuts, tmp_path)
    assert report['training']['cuts'] == str(cuts)
    assert 0 <= report['test']['all']['accuracy'] <= 1


def test_set_that_grows_meanwhile_is_judged_as_it_was_cut(folder, cuts, tmp_path):
    grown, some = copy_of(folder, tmp_path / 'set'), copy_of(cuts, tmp_path / 'cuts')

    def grow(line):
        if line.startswith('epoch'):
            write_shard(grown / 'c.h5', make_set(1, suffix=' who came later'))

    assert trained(grown, some, tmp_path / 'run', grow)['test_clips'] == 7
    with pytest.raises(DataError, match='7 of 14 clips were not cut: run training.cut again'):
        trained(grown, some, tmp_path / 'run')


def test_cutting_again_cuts_what_is_missing_and_the_same(folder, cuts, tmp_path):
    again = cut(folder, tmp_path / 'cuts', '--variations', 6, '--augment')
    parts = sorted(path.name for path in cuts.iterdir())
    assert sorted(path.name for path in again.iterdir()) == parts and len(parts) == 5
    (again / 'a.npz').unlink()
    kept = (again / 'b.npz').stat().st_mtime_ns
    cut(folder, again, '--variations', 6, '--augment')
    assert (again / 'b.npz').stat().st_mtime_ns == kept
    for name in parts:
        assert (again / name).read_bytes() == (cuts / name).read_bytes(), name


def refused(folder, cuts, match, **others):
    with pytest.raises(DataError, match=match):
        data_of([folder], 'train', dataclasses.replace(settings(cuts), **others), SIZE)


def copy_of(cuts, out):
    out.mkdir()
    for path in cuts.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    return out


def test_cuts_of_another_set_are_refused(folder, cuts, tmp_path):
    other = write_set(tmp_path / 'other', clips_per_expression=1, suffix=' of the other set')
    refused(other, cuts, '7 of 7 clips were not cut')
    with pytest.raises(SystemExit, match=r'a\.npz was not cut of this .*another folder'):
        cut(other, cuts, '--variations', 6, '--augment')


def test_cuts_of_other_events_of_the_same_plan_are_refused(folder, cuts, tmp_path):
    other = tmp_path / 'other'
    other.mkdir()
    clips = [dataclasses.replace(c, events=c.events[: len(c.events) // 2]) for c in make_set(1)]
    write_shard(other / 'a.h5', clips[::2])
    write_shard(other / 'b.h5', clips[1::2])
    refused(other, cuts, '7 of 7 clips were not cut')
    with pytest.raises(SystemExit, match=r'a\.npz was not cut of this .*another folder'):
        cut(other, cuts, '--variations', 6, '--augment')


def test_set_that_grew_is_cut_on(folder, cuts, tmp_path):
    grown, some = copy_of(folder, tmp_path / 'set'), copy_of(cuts, tmp_path / 'cuts')
    write_shard(grown / 'c.h5', make_set(1, suffix=' who came later'))
    refused(grown, some, '7 of 14 clips were not cut')
    cut(grown, some, '--variations', 6, '--augment')
    assert len(data_of([grown], 'train', settings(some), SIZE).clips) == 14
    assert (some / 'a.npz').read_bytes() == (cuts / 'a.npz').read_bytes()


def test_shard_without_timed_clips_leaves_the_others(folder, tmp_path):
    mixed = copy_of(folder, tmp_path / 'set')
    clip = make_set(1, suffix=' whose timing nobody knows')[1]
    clip.entry.update(segments=[])
    write_shard(mixed / 'c.h5', [clip])
    own = cut(mixed, tmp_path / 'cuts', '--variations', 1, '--augment')
    assert (own / 'c.frames').stat().st_size == 0
    assert len(data_of([mixed], 'train', settings(own), SIZE).clips) == 7


def test_cuts_of_an_older_version_are_refused(folder, cuts, tmp_path):
    some = copy_of(cuts, tmp_path / 'some')
    with np.load(cuts / 'a.npz') as table:
        np.savez(some / 'a.npz', key=table['clip'], blank=table['blank'])
    refused(folder, some, r'a\.npz is of an older version.*cut anew')
    with pytest.raises(SystemExit, match='of an older version'):
        cut(folder, some, '--variations', 6, '--augment')


def test_cuts_of_other_settings_are_refused(folder, cuts):
    refused(folder, cuts, 'another frame_step: cut anew', frame_step=16)
    refused(folder, cuts, 'another augment', augment=('mirror',))


def test_folder_without_cuts_is_refused(folder, tmp_path):
    refused(folder, tmp_path, 'holds no cuts .*python -m training.cut')


def test_clips_that_were_not_cut_are_counted(folder, cuts, tmp_path):
    some = copy_of(cuts, tmp_path / 'some')
    (some / 'a.npz').unlink()
    refused(folder, some, r'of \d+ clips were not cut: run training.cut again')


@pytest.mark.parametrize('name', ['a.npz', 'a.frames'])
@pytest.mark.parametrize('length', [0, 100, -1])
def test_damaged_part_is_named(folder, cuts, tmp_path, name, length):
    some = copy_of(cuts, tmp_path / 'some')
    content = (some / name).read_bytes()
    (some / name).write_bytes(content[:length])
    refused(folder, some, 'a.npz is no whole part .*delete it and run training.cut again')


def test_other_cuts_in_the_folder_are_not_mixed_with(folder, cuts, tmp_path):
    some = copy_of(cuts, tmp_path / 'some')
    with pytest.raises(SystemExit, match='holds cuts of other settings'):
        cut(folder, some, '--variations', 5, '--augment')
    assert json.loads((some / 'cuts.json').read_text())['variations'] == 6


@pytest.fixture
def many(tmp_path):
    """Return a set of a dozen shards."""
    folder = tmp_path / 'many'
    folder.mkdir()
    for number, clip in enumerate(make_set(1)[:12]):
        write_shard(folder / '{:02d}.h5'.format(number), [clip])
    return folder


def cut_many(folder, out, say):
    cut_all(folder, out, settings(), SIZE, 1, 1, say)


def test_damaged_shard_is_told_before_all_others_are_cut(many, tmp_path):
    (many / '00.h5').write_bytes(b'no shard')
    with pytest.raises(DataError, match='00.h5'):
        cut_many(many, tmp_path / 'out', lambda line: None)
    assert len(list((tmp_path / 'out').glob('*.npz'))) < 8


def test_cutting_that_is_stopped_leaves_the_rest(many, tmp_path, monkeypatch):
    def stop(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_many(many, tmp_path / 'out', stop)
    assert 1 <= len(list((tmp_path / 'out').glob('*.npz'))) < 8
    monkeypatch.setattr('training.cut.cut_all', lambda *_, **__: stop(''))
    with pytest.raises(SystemExit, match='^stopped; the same command does the rest$'):
        main([str(many), '--out', str(tmp_path / 'out')])


def test_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(SystemExit, match='holds no shards'):
        cut(tmp_path, tmp_path / 'cuts')
