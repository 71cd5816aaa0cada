"""What is found in a corpus's folder, and what is listed as not fitting; no video is opened."""

import pathlib
import re

import numpy as np
import pytest

from cs3d_ros.events import open_recording
from training.data.corpora.layouts import LAYOUTS
from training.data.corpora.manifest import COLUMNS, read_manifest
from training.data.corpora.samples import CorpusError, Timing
from training.data.corpora.words import WORDS
from training.data.world import ACTED


def plant(root, *names, content=b'x' * 2000):
    """Write files below a folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def labels(found):
    """Return what each sample is: name, subject, label."""
    return [(sample.name, sample.subject, sample.label) for sample in found.samples]


def reason(found):
    """Return why the only misfit was left out."""
    (misfit,) = found.misfits
    return misfit.reason


@pytest.mark.parametrize('corpus', sorted(WORDS))
def test_every_word_of_a_corpus_becomes_an_expression_of_the_world(corpus):
    assert set(WORDS[corpus].values()) <= set(ACTED)


def test_adfes_tells_model_emotion_and_view_by_name(tmp_path):
    plant(
        tmp_path,
        'Northern European/F01-Joy-Face Forward.mpeg',
        'Mediterranean/M11-Embarrass-Turn Away.mpeg',
        'Mediterranean/M11-Neutral-Face Forward.mpeg',
        'Stills/F01-Joy-Apex.jpg',
    )
    found = LAYOUTS['adfes'](tmp_path)
    assert labels(found) == [
        ('Mediterranean/M11-Embarrass-Turn Away.mpeg', 'M11', 'embarrassed'),
        ('Mediterranean/M11-Neutral-Face Forward.mpeg', 'M11', 'neutral'),
        ('Northern European/F01-Joy-Face Forward.mpeg', 'F01', 'happy'),
    ]
    assert not found.misfits


def test_adfes_apex_is_timed_where_the_face_looks_forward_all_the_time(tmp_path):
    names = (
        'F01-Joy-Face Forward.mpeg',
        'F01-Joy-Turn Toward.mpeg',
        'F01-Neutral-Face Forward.mpeg',
    )
    plant(tmp_path, *names)
    apex = {sample.name: sample.published_apex_s for sample in LAYOUTS['adfes'](tmp_path).samples}
    assert apex == dict(zip(names, (5.0, None, None)))


def test_adfes_name_without_emotion_is_listed(tmp_path):
    plant(tmp_path, 'F01-Joy-Face Forward.mpeg', 'intro.mpeg', 'F02-Boredom-Face Forward.mpeg')
    misfits = {misfit.path: misfit.reason for misfit in LAYOUTS['adfes'](tmp_path).misfits}
    assert 'tells no model' in misfits['intro.mpeg']
    assert "label 'Boredom' has no counterpart" in misfits['F02-Boredom-Face Forward.mpeg']


def test_crema_d_tells_actor_emotion_and_level_by_name(tmp_path):
    plant(tmp_path, 'VideoFlash/1001_IEO_ANG_HI.flv', 'VideoFlash/1091_DFA_NEU_XX.flv')
    found = LAYOUTS['crema-d'](tmp_path)
    assert labels(found) == [
        ('VideoFlash/1001_IEO_ANG_HI.flv', '1001', 'angry'),
        ('VideoFlash/1091_DFA_NEU_XX.flv', '1091', 'neutral'),
    ]
    assert found.samples[0].details == {'sentence': 'IEO', 'level': 'HI'}


def test_crema_d_pointer_of_git_lfs_is_listed_with_its_cure(tmp_path):
    pointer = b'version https://git-lfs.github.com/spec/v1\noid sha256:10dc\nsize 265922\n'
    plant(tmp_path, 'VideoFlash/1001_DFA_ANG_XX.flv', content=pointer)
    assert 'git lfs pull' in reason(LAYOUTS['crema-d'](tmp_path))


def test_szu_emodage_takes_names_of_one_subject_and_one_emotion(tmp_path):
    plant(
        tmp_path,
        'Dynamic_faces/012_happiness.mp4',
        'Dynamic_faces/fear-F07.avi',
        'Dynamic_faces/012_happiness_sadness.mp4',
        'Dynamic_faces/smiling.mp4',
    )
    found = LAYOUTS['szu-emodage'](tmp_path)
    assert [entry[1:] for entry in labels(found)] == [('012', 'happy'), ('F07', 'scared')]
    assert [','.join(COLUMNS) in misfit.reason for misfit in found.misfits] == [True, True]


@pytest.fixture
def casme2(tmp_path):
    """Return a function that plants a CASME II of rows, each with pictures 46 to 86."""
    openpyxl = pytest.importorskip('openpyxl', reason='needs section [corpora]')
    columns = (
        'Subject', 'Filename', '', 'OnsetFrame', 'ApexFrame', 'OffsetFrame', '', 'Action Units',
        'Estimated Emotion',
    )  # fmt: skip

    def make(*rows, folders=('CASME2_RAW_selected/sub01/EP02_01f',)):
        book = openpyxl.Workbook()
        book.active.append(columns)
        for row in rows:
            book.active.append(row)
        book.save(tmp_path / 'CASME2-coding-20140508.xlsx')
        for folder in folders:
            plant(tmp_path, *('{}/img{}.jpg'.format(folder, i) for i in range(46, 87)))
        return LAYOUTS['casme2'](tmp_path)

    return make


def test_casme2_times_count_from_the_first_picture(casme2):
    found = casme2((1, 'EP02_01f', None, 46, 59, 86, None, '4+L10', 'happiness'))
    (sample,) = found.samples
    assert (sample.subject, sample.label, sample.fps) == ('01', 'happy', 200.0)
    assert sample.timing == Timing(0.0, 13 / 200, 13 / 200, 40 / 200)
    assert sample.details == {'action_units': '4+L10'}


def test_casme2_raw_pictures_are_preferred_to_cropped_ones(casme2):
    found = casme2(
        (1, 'EP02_01f', None, 46, 59, 86, None, '', 'disgust'),
        folders=('Cropped/sub01/EP02_01f', 'CASME2_RAW_selected/sub01/EP02_01f'),
    )
    assert found.samples[0].name == 'CASME2_RAW_selected/sub01/EP02_01f'


def test_casme2_unknown_apex_leaves_the_timing_open(casme2):
    found = casme2((1, 'EP02_01f', None, 46, '/', 86, None, '', 'surprise'))
    assert found.samples[0].timing is None


@pytest.mark.parametrize(
    ('row', 'said'),
    [
        ((1, 'EP02_01f', None, 46, 59, 86, None, '', 'repression'), "label 'repression' has no"),
        ((1, 'EP02_01f', None, 46, 59, 86, None, '', 'others'), "label 'others' has no"),
        ((1, 'EP02_01f', None, 60, 50, 86, None, '', 'fear'), 'must follow each other'),
        ((1, 'EP02_01f', None, 46, 59, 50, None, '', 'fear'), 'must follow each other'),
        ((1, 'EP03_09', None, 46, 59, 86, None, '', 'fear'), 'there is no folder sub01/EP03_09'),
        ((None, 'EP02_01f', None, 46, 59, 86, None, '', 'fear'), 'subject must be a number'),
    ],
)
def test_casme2_row_that_does_not_fit_is_listed(casme2, row, said):
    assert said in reason(casme2(row))


def test_casme2_without_its_table_says_what_is_missing(tmp_path):
    with pytest.raises(CorpusError, match=r'one table CASME2-coding-\*\.xlsx'):
        LAYOUTS['casme2'](tmp_path)


def test_damaged_workbook_is_an_error_of_one_line(tmp_path):
    pytest.importorskip('openpyxl', reason='needs section [corpora]')
    plant(tmp_path, 'CASME2-coding-20140508.xlsx', content=b'PK\3\4 no archive')
    with pytest.raises(CorpusError, match='cannot be read as a workbook'):
        LAYOUTS['casme2'](tmp_path)


def plant_nefer(root, lines, recordings):
    """Write the table and the recordings of a NEFER."""
    table = root / 'annotations' / 'reported_emotions' / 'train_event_subjective.csv'
    table.parent.mkdir(parents=True)
    table.write_text(''.join(','.join(line) + '\n' for line in lines))
    plant(root, *recordings)


def test_nefer_joins_the_reported_emotion_and_the_recording(tmp_path):
    name = 'user01_2022-06-08_12-20-03'
    lines = [
        ('user_01', name + '_cd', 'event_frame/frame_{:02d}.png'.format(i), 'Happiness')
        for i in range(3)
    ]
    plant_nefer(tmp_path, lines, ['event_videos/raw/user_01/{}.raw'.format(name)])
    found = LAYOUTS['nefer'](tmp_path)
    assert labels(found) == [('event_videos/raw/user_01/{}.raw'.format(name), '01', 'happy')]


@pytest.mark.parametrize(
    ('lines', 'recordings', 'said'),
    [
        ([('user_02', 'a_cd', 'f0.png', 'None')], ['a.raw'], "label 'None' has no counterpart"),
        ([('user_02', 'a_cd', 'f0.png', 'Fear')], ['b.raw'], 'no event recording of this name'),
        ([('user_02', 'a_cd', 'f0.png', 'Fear')], ['a_cd.dat'], 'DAT is not read'),
        (
            [('user_02', 'a_cd', 'f0.png', 'Fear'), ('user_02', 'a_cd', 'f1.png', 'Anger')],
            ['a.raw'],
            'several emotions',
        ),
    ],
)
def test_nefer_recording_that_does_not_fit_is_listed(tmp_path, lines, recordings, said):
    plant_nefer(tmp_path, lines, recordings)
    assert said in reason(LAYOUTS['nefer'](tmp_path))


def test_nefer_takes_the_recording_that_is_read_where_there_are_two(tmp_path):
    lines = [('user_02', 'a_cd', 'f0.png', 'Fear')]
    plant_nefer(tmp_path, lines, ['dat/a_cd.dat', 'raw/a.raw'])
    assert [sample.name for sample in LAYOUTS['nefer'](tmp_path).samples] == ['raw/a.raw']


def test_folder_without_videos_points_to_the_manifest(tmp_path):
    with pytest.raises(CorpusError, match=','.join(COLUMNS)):
        LAYOUTS['crema-d'](tmp_path)


def manifest(root, *lines, header='path,subject,label,onset,apex,offset,fps'):
    """Write a manifest and return what is found."""
    (root / 'manifest.csv').write_text('\n'.join((header, *lines)) + '\n')
    return read_manifest(root)


def test_manifest_line_becomes_a_sample(tmp_path):
    plant(tmp_path, 'anna/smile.mp4')
    (sample,) = manifest(tmp_path, 'anna/smile.mp4,anna,happy,0.5,0.75,2,24').samples
    assert (sample.name, sample.subject, sample.label) == ('anna/smile.mp4', 'anna', 'happy')
    assert (sample.timing, sample.fps) == (Timing(0.5, 0.75, 0.75, 2.0), 24.0)


def test_manifest_times_may_be_unknown_or_last_until_the_end(tmp_path):
    plant(tmp_path, 'a.mp4')
    found = manifest(tmp_path, 'a.mp4,anna,sad,,,,', 'a.mp4,anna,sad,0.5,0.75,,')
    assert [s.timing for s in found.samples] == [None, Timing(0.5, 0.75, None, None)]


def test_manifest_takes_a_part_of_a_long_recording(tmp_path):
    plant(tmp_path, 'a.aedat4')
    header = 'path,subject,label,start,end'
    found = manifest(tmp_path, 'a.aedat4,anna,neutral,12,20', header=header)
    assert found.samples[0].span_s == (12.0, 20.0)


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('a.mp4,,happy,,,,', 'subject is empty'),
        ('a.mp4,anna,,,,,', 'label is empty'),
        ('a.mp4,anna,joyful,,,,', "label 'joyful' has no counterpart"),
        ('a.mp4,anna,happy,2,1,3,', 'must follow each other'),
        ('a.mp4,anna,happy,1,1,3,', 'must follow each other'),
        ('a.mp4,anna,happy,1,2,1.5,', 'must follow each other'),
        ('a.mp4,anna,happy,1,,3,', 'onset and apex'),
        ('a.mp4,anna,happy,-1,1,3,', "onset must be a number of 0 or more, found '-1'"),
        ('a.mp4,anna,happy,nan,1,3,', "found 'nan'"),
        ('a.mp4,anna,happy,,,,0', 'fps above 0'),
        ('a.mp4,anna,happy,,,,,7,8', 'the line has 9 cells, not 7'),
        ('b.mp4,anna,happy,,,,', 'no such file below'),
        ('../outside.mp4,anna,happy,,,,', 'no such file below'),
        ('/etc/hostname,anna,happy,,,,', 'no such file below'),
        ('link.mp4,anna,happy,,,,', 'no such file below'),
        ('{}.mp4,anna,happy,,,,'.format('a' * 5000), 'no such file below'),
    ],
)
def test_manifest_line_that_does_not_fit_is_listed(tmp_path, line, said):
    root = tmp_path / 'corpus'
    plant(tmp_path, 'outside.mp4', 'corpus/a.mp4')
    (root / 'link.mp4').symlink_to(tmp_path / 'outside.mp4')
    found = manifest(root, line)
    assert not found.samples
    assert said in reason(found)


def test_manifest_may_name_files_of_root_from_elsewhere(tmp_path):
    plant(tmp_path, 'corpus/a.mp4', 'corpus/b.mp4')
    listed = tmp_path / 'lists' / 'mine.csv'
    listed.parent.mkdir()
    listed.write_text(
        'path,subject,label\n{}/corpus/a.mp4,anna,happy\n../corpus/b.mp4,ben,sad\n'.format(
            tmp_path
        )
    )
    found = read_manifest(tmp_path / 'corpus', listed)
    assert [sample.name for sample in found.samples] == ['a.mp4', 'b.mp4']


@pytest.mark.parametrize(
    'header', ['path,subject', 'path,subject,label,mood', 'path,path,subject,label']
)
def test_manifest_of_other_columns_is_refused(tmp_path, header):
    with pytest.raises(CorpusError, match='must begin with a line of column names'):
        manifest(tmp_path, header=header)


def test_missing_manifest_is_described_by_its_columns(tmp_path):
    with pytest.raises(CorpusError, match=','.join(COLUMNS)):
        read_manifest(tmp_path)


def test_manifest_that_is_no_text_is_refused(tmp_path):
    (tmp_path / 'manifest.csv').write_bytes(b'path,subject,label\n\xff\xfe\xff')
    with pytest.raises(CorpusError, match='CSV in UTF-8'):
        read_manifest(tmp_path)


DOCS = (pathlib.Path(__file__).parents[2] / 'docs' / 'corpora.md').read_text()


@pytest.mark.parametrize('corpus', sorted(set(WORDS) - {'manifest'}))
def test_docs_tell_what_becomes_of_each_word(corpus):
    (row,) = (
        line
        for line in DOCS.splitlines()
        if line.startswith('| `{}` | '.format(corpus)) and line.count('|') == 6
    )
    told = row.lower().split('|')[3]
    for word, label in WORDS[corpus].items():
        assert word in told
        assert label in told


def test_docs_name_the_columns_of_a_manifest():
    assert ','.join(COLUMNS) in DOCS
    for column in COLUMNS:
        assert '`{}`'.format(column) in DOCS


def test_mvsec_is_saved_as_the_docs_say(tmp_path, monkeypatch):
    h5py = pytest.importorskip('h5py')
    monkeypatch.chdir(tmp_path)
    with h5py.File('indoor_flying1_data.hdf5', 'w') as file:
        file['davis/left/events'] = np.array([(5, 6, 1.5, -1), (345, 259, 1.25, 1)])
    (code,) = re.findall(r'```python\n(.*?)```', DOCS, re.S)
    exec(code, {})
    with open_recording('indoor_flying1.npz') as recording:
        (batch,) = recording.batches(count=9)
    assert batch.t.tolist() == [1_250_000_000, 1_500_000_000]
    assert (batch.x.tolist(), batch.y.tolist(), batch.p.tolist()) == ([345, 5], [259, 6], [1, 0])
