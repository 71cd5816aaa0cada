from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('torch')
import torch
from fabricated import make_set, write_set
from onnxruntime import InferenceSession

from cs3d_ros.events.frames import DEFAULT_PERIOD_NS
from cs3d_ros.face import Box, FaceFinder, FaceTrack
from cs3d_ros.face.activity import GRID_ROWS, ActivityMap, image_of
from cs3d_ros.face.finder import MODEL
from training.data.clips import ClipSet, DataError, write_shard
from training.finder import maps
from training.finder.__main__ import learn, main
from training.finder.judge import Tally
from training.finder.maps import COLUMNS, Example, collect, examples_of, periods_of, varied
from training.finder.network import FinderNetwork, loss, onnx_model, overlap, places

QUIET = {
    'SCALED': 1.0,
    'SHOWN': {'face': 1.0},
    'CLUTTERED': 0.0,
    'NOISY': 0.0,
    'HOT': 0.0,
}


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('sets') / 'dots')


def ring(box, shape=(65, 87)):
    """Return a map of an oval outline that fills a box of cells, as an example."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    left, top, width, height = box
    u, v = (x - left) / width - 0.5, (y - top) / height - 0.5
    counts = 20 * np.exp(-(((np.hypot(u, v) - 0.45) / 0.06) ** 2))
    return Example(np.stack([counts, 0.5 * counts]).astype(np.float32), np.float32(box))


def trained_a_little():
    """Return a network whose normalisation has seen something."""
    torch.manual_seed(0)
    network = FinderNetwork()
    for _ in range(3):
        network(3 * torch.rand(4, 2, 64, 88))
    return network.eval()


@pytest.mark.parametrize('size', [(64, 88), (65, 87), (66, 117), (1, 1)])
def test_graph_answers_as_the_network_does(size):
    network = trained_a_little()
    session = InferenceSession(onnx_model(network).SerializeToString())
    images = 3 * torch.rand(1, 2, *size)
    with torch.no_grad():
        quality, reach = network(images)
    found = session.run(['quality', 'reach'], {'activity': images.numpy()})
    np.testing.assert_allclose(found[0][:, 0], torch.sigmoid(quality), atol=1e-5)
    np.testing.assert_allclose(found[1], reach, rtol=1e-4)


def test_overlap_is_that_of_boxes():
    rng = np.random.default_rng(1)
    reach = torch.from_numpy(rng.uniform(1, 30, (3, 4, 5, 6)).astype(np.float32))
    boxes = rng.uniform(2, 20, (3, 4)).astype(np.float32)
    found = overlap(reach, torch.from_numpy(boxes))
    x, y = places(5, 6)
    for n, row, column in ((0, 0, 0), (1, 2, 3), (2, 4, 5), (0, 3, 1)):
        left, top, right, bottom = reach[n, :, row, column].tolist()
        corner = float(x[row, column]) - left, float(y[row, column]) - top
        expected = Box(*corner, left + right, top + bottom).overlap(Box(*boxes[n].tolist()))
        assert float(found[n, row, column]) == pytest.approx(expected, abs=1e-5)


def test_loss_is_least_for_the_true_box_alone():
    boxes, shown = torch.tensor([[20.0, 10.0, 24.0, 32.0]]), torch.tensor([True])
    x, y = places(16, 22)
    sides = torch.stack([x - 20, y - 10, 44 - x, 42 - y])[None]
    reach = sides.clamp(0.2)
    near = (((x - 32) / 24).abs() < 0.1) & (((y - 26) / 32).abs() < 0.1)
    quality = torch.where(near, 8.0, -8.0)[None]
    best = float(loss(quality, reach, boxes, shown))
    assert best < 0.2
    assert float(loss(quality, 1.4 * reach, boxes, shown)) > best + 0.2
    assert float(loss(-quality, reach, boxes, shown)) > best + 1
    assert float(loss(quality, reach, boxes, ~shown)) > best + 1
    assert float(loss(torch.full_like(quality, -8.0), reach, boxes, ~shown)) < 0.01


@pytest.mark.parametrize('seed', range(12))
def test_box_goes_where_the_face_goes(seed, monkeypatch):
    for name, value in QUIET.items():
        monkeypatch.setattr(maps, name, value)
    left, top, width, height = 30, 20, 18, 24
    counts = np.zeros((2, 65, 87), np.float32)
    counts[:, top : top + height, left : left + width] = 5.0
    example = Example(counts, np.float32([left, top, width, height]))
    image, box, shown = varied(example, np.random.default_rng(seed))
    assert shown
    assert image.shape == (2, GRID_ROWS, COLUMNS)
    rows, columns = np.nonzero(image[0] > image[0].max() / 2)
    x, y, width, height = box
    for found, true, most in (
        (columns.min(), x, COLUMNS),
        (columns.max() + 1, x + width, COLUMNS),
        (rows.min(), y, GRID_ROWS),
        (rows.max() + 1, y + height, GRID_ROWS),
    ):
        assert found == pytest.approx(np.clip(true, 0, most), abs=1.5)


@pytest.mark.parametrize('shown', ['absent', 'upside down', 'shuffled'])
def test_what_is_no_face_is_told_so(shown, monkeypatch):
    example = ring((30, 20, 18, 24))
    for name, value in {**QUIET, 'SHOWN': {shown: 1.0}}.items():
        monkeypatch.setattr(maps, name, value)
    image, box, is_face = varied(example, np.random.default_rng(0))
    assert not is_face
    assert image.any()  # there is something else to see
    if shown == 'absent':
        assert box[0] + box[2] < 0 or box[0] > COLUMNS


def test_shuffled_face_keeps_its_events():
    counts, box = ring((30, 20, 18, 24), (GRID_ROWS, COLUMNS)).counts, (30, 20, 18, 24)
    mixed = maps._shuffled(counts, box, np.random.default_rng(3))
    assert not np.array_equal(mixed, counts)
    np.testing.assert_array_equal(np.sort(mixed, None), np.sort(counts, None))


@pytest.mark.parametrize('box', [(20, -3, 40, GRID_ROWS + 6), (-9, 10, COLUMNS + 20, 30)])
def test_face_beyond_the_canvas_is_shuffled_where_it_is_seen(box):
    counts = np.random.default_rng(0).random((2, GRID_ROWS, COLUMNS), np.float32)
    mixed = maps._shuffled(counts, box, np.random.default_rng(3))
    assert not np.array_equal(mixed, counts)
    np.testing.assert_array_equal(np.sort(mixed, None), np.sort(counts, None))


def test_shapes_leave_the_face_alone():
    box = 30, 20, 18, 24
    for seed in range(20):
        drawn = maps._clutter(1.0, box, np.random.default_rng(seed))
        assert drawn.shape == (2, GRID_ROWS, COLUMNS)
        assert not drawn[:, 26:38, 34:44].any()
    assert drawn.any()


def test_a_ring_is_found_after_a_little_learning(tmp_path):
    rng = np.random.default_rng(2)
    rings = [ring((*rng.uniform(5, 25, 2), size, 1.3 * size)) for size in rng.uniform(16, 28, 20)]
    network = learn(rings, steps=150, batch=16, seed=0)
    session = InferenceSession(onnx_model(network).SerializeToString())
    overlaps = []
    for size in (17.0, 21.0, 26.0):
        example = ring((50.0 - size, 14.0, size, 1.3 * size))
        image = image_of(example.counts)
        quality, reach = session.run(None, {'activity': image[None]})
        row, column = np.unravel_index(quality.argmax(), quality.shape[2:])
        left, top, right, bottom = reach[0, :, row, column].tolist()
        corner = 4 * (column + 0.5) - left, 4 * (row + 0.5) - top
        found = Box(*corner, left + right, top + bottom)
        overlaps.append(found.overlap(Box(*example.box.tolist())))
    assert min(overlaps) > 0.5


def test_examples_are_what_the_finder_would_see(source):
    found = collect(source, 'train', 3, seed=1, workers=1, say=lambda line: None)
    clips = ClipSet(source)
    own = [clips[k] for k, entry in enumerate(clips.entries) if entry['split'] == 'train']
    assert len(found) == 3 * len(own)
    activity, seen = ActivityMap(160, 160), []
    for _, batch, box in periods_of(own[0]):
        activity.add(batch)
        activity.close(DEFAULT_PERIOD_NS / 1e9)
        seen.append((activity.counts, box / activity.cell))
    for example in found[:3]:
        assert any(
            np.array_equal(example.counts, counts) and np.allclose(example.box, box)
            for counts, box in seen
        )


def test_tally_counts_right_and_wrong_boxes(source, tmp_path, monkeypatch):
    clips = ClipSet(source)
    model = tmp_path / 'finder.onnx'
    model.write_bytes(onnx_model(trained_a_little()).SerializeToString())
    tally = Tally().and_of(clips[0], model)
    truth = clips[0].truth

    class Seer:
        """Blind for a second, right for the next, then far off."""

        def __init__(self, *size, model):
            self.add = lambda batch: None

        def step(self, end_ns):
            x, y, width, height = (np.interp(end_ns, truth.t_ns, side) for side in truth.box.T)
            away = 0 if end_ns < 2e9 else 10 * width
            track = FaceTrack(1, Box(x + away, y, width, height), 1.0, 0)
            return track if end_ns >= 1e9 else None

    monkeypatch.setattr('training.finder.judge.FaceFinder', Seer)
    seen = Tally().and_of(clips[0], model)
    ends = np.arange(DEFAULT_PERIOD_NS, int(truth.t_ns[-1]), DEFAULT_PERIOD_NS)
    assert seen.periods == tally.periods == len(ends)
    assert seen.right == ((ends >= 1e9) & (ends < 2e9)).sum()
    assert seen.wrong == (ends >= 2e9).sum()
    assert seen.overlap == pytest.approx(seen.right)


def test_where_nobody_knows_the_face_nothing_is_learnt_or_judged(source, tmp_path):
    clip = ClipSet(source)[0]
    truth = replace(clip.truth, box=np.full_like(clip.truth.box, np.nan))
    unknown = replace(clip, truth=truth)
    assert examples_of(clip, 3, np.random.default_rng(0))
    assert not examples_of(unknown, 3, np.random.default_rng(0))
    tally = Tally().and_of(unknown, MODEL)
    assert (tally.clips, tally.periods, tally.right, tally.wrong) == (1, 0, 0, 0)


def test_command_writes_a_finder_and_its_card(source, tmp_path):
    path = tmp_path / 'faces.onnx'
    line = [str(source), '-o', str(path), '--steps', '3', '--batch', '4', '--judged-clips', '1']
    main([*line, '--maps-per-clip', '2', '--workers', '1'])
    assert FaceFinder(346, 260, model=str(path)).step(0) is None
    card = path.with_suffix('.md').read_text()
    assert '| standard | 1 |' in card
    assert '| together | 1 |' in card
    assert '12 variants' in card.replace('\n', ' ')


@pytest.fixture
def nothing_collected(monkeypatch):
    """Fail a test whose command begins to work."""
    monkeypatch.setattr('training.finder.__main__.collect', lambda *_: pytest.fail('collected'))


def test_set_without_test_clips_is_told_at_once(tmp_path, nothing_collected):
    learnt = [clip for clip in make_set(1) if clip.entry['split'] == 'train']
    write_shard(tmp_path / 'learnt.h5', learnt)
    with pytest.raises(SystemExit, match='error: .* has no clips of test'):
        main([str(tmp_path), '-o', str(tmp_path / 'a.onnx')])


def test_missing_output_folder_is_told_at_once(source, tmp_path, nothing_collected):
    with pytest.raises(SystemExit, match='error: .*nowhere is no folder .* -o'):
        main([str(source), '-o', str(tmp_path / 'nowhere' / 'a.onnx')])


def test_output_of_another_name_is_told_at_once(source, tmp_path, nothing_collected, capsys):
    with pytest.raises(SystemExit):
        main([str(source), '-o', str(tmp_path / 'a.md')])
    assert 'must end in .onnx' in capsys.readouterr().err


def test_network_is_kept_where_it_cannot_be_judged(source, tmp_path, monkeypatch):
    def broken(*_):
        raise DataError('a shard is damaged')

    monkeypatch.setattr('training.finder.__main__.judged', broken)
    line = [str(source), '-o', str(tmp_path / 'a.onnx'), '--steps', '1', '--batch', '2']
    with pytest.raises(SystemExit, match='a shard is damaged'):
        main([*line, '--maps-per-clip', '1', '--workers', '1'])
    assert FaceFinder(346, 260, model=str(tmp_path / 'a.onnx')).step(0) is None


@pytest.mark.parametrize(
    ('dead', 'told'),
    [
        (lambda quality: quality.mean() * np.nan, 'nan and its gradient nan'),
        (lambda quality: (0 * quality.mean()).abs().sqrt(), '0 and its gradient nan'),
    ],
)
def test_what_diverged_is_told_and_replaces_nothing(source, tmp_path, monkeypatch, dead, told):
    losses = iter([torch.mean, dead])
    monkeypatch.setattr('training.finder.__main__.loss', lambda quality, *_: next(losses)(quality))
    path = tmp_path / 'a.onnx'
    path.write_bytes(b'a good one')
    line = [str(source), '-o', str(path), '--steps', '2', '--batch', '2']
    with pytest.raises(SystemExit, match='error: the loss became {} in step 2'.format(told)):
        main([*line, '--maps-per-clip', '1', '--workers', '1'])
    assert path.read_bytes() == b'a good one'
    assert list(tmp_path.iterdir()) == [path]


def test_bad_input_is_told(source, tmp_path):
    with pytest.raises(SystemExit):
        main([str(source), '-o', str(tmp_path / 'a.onnx'), '--steps', '0'])
    with pytest.raises(SystemExit, match='error: '):
        main([str(tmp_path / 'nowhere'), '-o', str(tmp_path / 'a.onnx'), '--workers', '1'])
    with pytest.raises(DataError, match='no clips of dev'):
        collect(source, 'dev', 1, 0, 1, lambda line: None)
