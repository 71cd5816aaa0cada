"""The morphable face: packed from OBJ files, found on disk, painted where there are no skins."""

import json
import os
import resource
import shutil

import numpy as np
import pytest

pytest.importorskip('numba')
pytest.importorskip('cv2')

import cv2

from training.data.assets import asset_files, load_assets, pack_face, pack_skins
from training.data.assets.__main__ import main
from training.data.assets.asset_files import MESH_FILE, SKIN_PARTS, AssetsError, assets_folder
from training.data.assets.face_maps import eye_disc, face_maps, pull_push
from training.data.rendering.faces import FaceModel

SHAPED = ('browDown_L', 'jawOpen', 'cheekRaiser_R', 'identity000', 'identity099')
MAKEHUMAN_UV_END = 0.99  # the head of MakeHuman's picture ends there


@pytest.fixture(scope='module')
def face_folder():
    """Return a folder that holds the packed face, beside the repository or in the cache."""
    try:
        return assets_folder()
    except AssetsError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope='module')
def mesh(face_folder):
    with np.load(face_folder / MESH_FILE) as packed:
        return {name: packed[name] for name in packed.files}


@pytest.fixture(scope='module')
def clone(mesh, tmp_path_factory):
    """Return a clone of ICT-FaceKit, written back from the packed face; five shapes move."""
    root = tmp_path_factory.mktemp('clone')
    models = root / 'FaceXModel'
    models.mkdir()
    (root / 'LICENSE').write_text('MIT\n')
    kept = mesh['orig_index'].astype(int)
    indices = {
        'expressions': [str(n) for n in mesh['expr_names'][:53]],
        'idx_to_landmark_verts': kept[mesh['landmarks68']].tolist(),
        'idx_to_rigid_verts': kept[mesh['rigid']].tolist(),
    }
    (models / 'vertex_indices.json').write_text(json.dumps(indices))
    neutral = np.zeros((pack_face.VERTICES, 3))
    neutral[kept] = mesh['neutral_mm'].astype(float) / 10.0
    (models / 'generic_neutral_mesh.obj').write_text(_vertex_lines(neutral) + _topology(mesh))
    (models / 'still').write_text(_vertex_lines(neutral))
    for name in _names(mesh):
        if name in SHAPED:
            moved = neutral.copy()
            moved[kept] += _steps(mesh, name).T * 0.00025
            (models / (name + '.obj')).write_text(_vertex_lines(moved))
        else:
            os.link(models / 'still', models / (name + '.obj'))
    return root


def _names(mesh):
    return [str(n) for n in mesh['expr_names']] + ['identity{:03d}'.format(k) for k in range(100)]


def _steps(mesh, name):
    index = _names(mesh).index(name)
    return mesh['expr_q'][index] if index < 57 else mesh['id_q'][index - 57]


def _vertex_lines(vertices):
    return '# of a test\n' + ''.join('v %.10g %.10g %.10g\n' % tuple(v) for v in vertices)


def _topology(mesh):
    """Return texture vertices and faces as OBJ lines: the triangles of a quad joined again."""
    kept = mesh['orig_index'].astype(int)
    corners = np.stack([kept[mesh['tri']], mesh['tri_uv']], axis=-1) + 1
    lines = ['vt %.9g %.9g' % tuple(uv) for uv in mesh['uv']]
    lines += ['vt 0 0'] * (pack_face.TEXTURE_VERTICES - len(lines))
    faces, k = [], 0
    while k < len(corners):
        face = [tuple(c) for c in corners[k]]
        following = [tuple(c) for c in corners[k + 1]] if k + 1 < len(corners) else None
        if following and following[:2] == [face[0], face[2]]:
            face.append(following[2])
            k += 1
        faces.append(face)
        k += 1
    dropped = pack_face.MOLARS[0][0] + 1
    faces += [[(dropped + i, 1) for i in range(3)]] * (pack_face.POLYGONS - len(faces))
    lines += ['f ' + ' '.join('{}/{}'.format(*c) for c in face) for face in faces]
    return '\n'.join(lines) + '\n'


def _copied(clone, tmp_path):
    return shutil.copytree(clone, tmp_path / 'copy', copy_function=os.link)


def _replace(path, text):
    path.unlink()  # a hard link: the others keep theirs
    path.write_text(text)


def test_a_packed_clone_holds_the_arrays_it_was_written_from(clone, mesh, tmp_path):
    told = []
    path = pack_face.pack_face(clone, tmp_path, lambda done, of: told.append((done, of)))
    with np.load(path) as packed:
        again = {name: packed[name] for name in packed.files}
    expected = dict(mesh, expr_q=mesh['expr_q'].copy(), id_q=mesh['id_q'].copy())
    for k, name in enumerate(_names(mesh)):
        if name not in SHAPED:
            (expected['expr_q'] if k < 57 else expected['id_q'])[k if k < 57 else k - 57] = 0
    rms = again.pop('id_rms_mm'), expected.pop('id_rms_mm')
    different = [n for n in expected if not np.array_equal(again[n], expected[n])]
    assert (set(again) ^ set(expected), different) == (set(), [])
    assert rms[0][[0, 99]] == pytest.approx(rms[1][[0, 99]], abs=1e-3) and not rms[0][1:99].any()
    assert (tmp_path / 'ict_facekit' / 'LICENSE').read_text() == 'MIT\n'
    assert told[-1] == (158, 158) and len(told) == 158


def test_missing_obj_files_are_counted_and_the_command_named(clone, tmp_path):
    copy = _copied(clone, tmp_path)
    for name in ('jawOpen', 'identity042', 'identity043'):
        (copy / 'FaceXModel' / (name + '.obj')).unlink()
    with pytest.raises(AssetsError, match=r'3 of 158 .* first is jawOpen\.obj.*git clone') as told:
        pack_face.pack_face(copy, tmp_path / 'out')
    assert '\n' not in str(told.value) and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', ['generic_neutral_mesh', 'browDown_L'])
def test_an_obj_that_is_cut_short_is_named(clone, tmp_path, name):
    copy = _copied(clone, tmp_path)
    path = copy / 'FaceXModel' / (name + '.obj')
    _replace(path, path.read_text()[:200_000])
    with pytest.raises(AssetsError, match=name + r'.*80157 are due'):
        pack_face.pack_face(copy, tmp_path / 'out')


def test_a_neutral_mesh_without_its_last_faces_is_refused(clone, tmp_path):
    copy = _copied(clone, tmp_path)
    path = copy / 'FaceXModel' / 'generic_neutral_mesh.obj'
    _replace(path, path.read_text()[:-50])
    with pytest.raises(AssetsError, match='faces where 26384 are due'):
        pack_face.pack_face(copy, tmp_path / 'out')


def test_an_obj_with_a_word_for_a_number_is_named(clone, tmp_path):
    copy = _copied(clone, tmp_path)
    path = copy / 'FaceXModel' / 'browDown_L.obj'
    _replace(path, path.read_text().replace('v 0 ', 'v zero ', 1))
    with pytest.raises(AssetsError, match='browDown_L.*zero'):
        pack_face.pack_face(copy, tmp_path / 'out')


def test_a_clone_without_its_licence_is_not_packed(clone, tmp_path):
    copy = _copied(clone, tmp_path)
    (copy / 'LICENSE').unlink()
    with pytest.raises(AssetsError, match='LICENSE.*not found'):
        pack_face.pack_face(copy, tmp_path / 'out')


def test_a_folder_that_is_no_clone_is_named(tmp_path, capsys):
    assert main(['pack', '--ict-facekit', str(tmp_path), '-o', str(tmp_path / 'out')]) == 1
    assert 'vertex_indices.json' in capsys.readouterr().err


@pytest.fixture
def small_disk():
    """No file of this process grows beyond 64 KiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_no_half_packed_face(clone, tmp_path, monkeypatch, small_disk):
    noise = np.random.default_rng(0).integers(0, 255, 200_000, dtype=np.uint8)
    monkeypatch.setattr(pack_face, 'read_face', lambda *_: {'neutral_mm': noise})
    with pytest.raises(AssetsError, match=r'ict_face_light\.npz cannot be written'):
        pack_face.pack_face(clone, tmp_path)
    assert [p.name for p in (tmp_path / 'ict_facekit').iterdir()] == ['LICENSE']


def test_a_full_disk_leaves_the_older_skins(makehuman, tmp_path, small_disk):
    (tmp_path / 'skins').mkdir()
    (tmp_path / 'skins' / 'older').touch()
    with pytest.raises(AssetsError, match='cannot be written'):
        pack_skins.pack_skins(makehuman, tmp_path)
    assert [p.name for p in tmp_path.rglob('*')] == ['skins', 'older']


@pytest.fixture(scope='module')
def makehuman(tmp_path_factory):
    """Return a clone in the layout of makehuman-assets, with pictures of noise."""
    root = tmp_path_factory.mktemp('makehuman')
    rng = np.random.default_rng(0)
    body = cv2.resize(rng.integers(0, 255, (512, 512, 3), dtype=np.uint8), (2048, 2048))
    eye = np.full((1024, 1024, 3), 200, np.uint8)
    cv2.circle(eye, (722, 305), 121, (40, 40, 40), -1)
    brow = np.zeros((512, 512, 4), np.uint8)
    brow[150:220, :, 3] = 255  # above the middle: the person's left
    textures = root / 'base' / 'skins' / 'textures'
    for name in ('young_lightskinned_female_diffuse2', 'choc_ebony', 'young_male_special_suit'):
        _save(textures / (name + '.png'), body)
    for name in pack_skins.BUNDLED_IRISES:
        _save(root / 'base' / 'eyes' / 'materials' / (name + '_eye.png'), eye)
    for k in range(1, 13):
        name = 'eyebrow{:03d}'.format(k)
        _save(root / 'base' / 'eyebrows' / name / (name + '.png'), brow)
    return root


def _save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def test_packed_skins_are_those_that_load_assets_offers(makehuman, mesh, face_folder, tmp_path):
    (tmp_path / 'ict_facekit').symlink_to(face_folder / 'ict_facekit')
    pack_skins.pack_skins(makehuman, tmp_path)
    assets = load_assets(tmp_path)
    assert assets.skins == ('young_lightskinned_female_diffuse2_grey',)
    assert (len(assets.brows), len(assets.irises)) == (12, 8)
    assert assets.skin(assets.skins[0]).shape == assets.brow(assets.brows[0]).shape == (512, 512)
    assert assets.iris('blue_eye_grey').shape == (128, 128)


def test_a_vertex_finds_its_place_of_the_makehuman_picture(shared_data):
    maps = np.load(shared_data / 'skins' / 'ict_maps.npz')
    ramp = np.broadcast_to(np.arange(2048, dtype=np.float32) / 8, (2048, 2048))
    u = maps['uv_ext_makehuman'][: len(face_maps()['skin_uv']), 0]
    for layer, expected in (
        (ramp, u * 256),
        (ramp.T, (1 - maps['uv_ext_makehuman'][: len(u), 1]) * 256),
    ):
        crop = pack_skins.lay_out_skin(np.repeat(layer[..., None], 3, axis=2))
        x, y = (maps['uv_ext'][: len(u)].T * 512 - 0.5).astype(np.float32)
        found = cv2.remap(crop, x[:, None], y[:, None], cv2.INTER_LINEAR)[:, 0]
        off = np.abs(found - expected)[u < MAKEHUMAN_UV_END - 0.03]
        assert np.quantile(off, 0.98) < 0.2


def test_a_limbus_has_its_radius_on_the_packed_iris(makehuman):
    eye = cv2.imread(str(makehuman / 'base' / 'eyes' / 'materials' / 'blue_eye.png'))
    iris = pack_skins.lay_out_iris(eye)
    area = (iris < 120).sum()
    assert np.sqrt(area / np.pi) == pytest.approx(53.3, abs=0.5)


def test_the_upper_brow_of_a_picture_is_the_persons_left(makehuman):
    path = makehuman / 'base' / 'eyebrows' / 'eyebrow001' / 'eyebrow001.png'
    brows = pack_skins.lay_out_brows(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), 1)
    assert brows[:, 256:].max() > 200 and brows[:, :256].max() == 0


def test_missing_pictures_are_counted_and_the_command_named(makehuman, tmp_path):
    copy = _copied(makehuman, tmp_path)
    for k in (3, 4):
        shutil.rmtree(copy / 'base' / 'eyebrows' / 'eyebrow{:03d}'.format(k))
    with pytest.raises(AssetsError, match=r'2 of .*eyebrow003\.png.*git clone'):
        pack_skins.pack_skins(copy, tmp_path / 'out')


def test_a_picture_left_in_git_lfs_is_named_with_the_cure(makehuman, tmp_path):
    copy = _copied(makehuman, tmp_path)
    path = copy / 'base' / 'eyes' / 'materials' / 'green_eye.png'
    _replace(path, 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n')
    with pytest.raises(AssetsError, match=r'green_eye\.png.*git lfs pull'):
        pack_skins.pack_skins(copy, tmp_path / 'out')
    assert not (tmp_path / 'out' / 'skins').exists()


def test_our_own_numbers_are_those_of_the_fitted_maps(shared_data, mesh):
    maps = np.load(shared_data / 'skins' / 'ict_maps.npz')
    packed = np.searchsorted(mesh['orig_index'], maps['sclera_vertex'])
    disc = eye_disc(mesh['neutral_mm'][packed])
    assert np.abs(disc - maps['sclera_disc']).max() < 1e-4
    assert np.array_equal(face_maps()['skin_uv'], maps['uv_ext'][:11248])


def test_holes_are_filled_from_around_and_the_rest_is_kept():
    picture = np.full((64, 64), 7.0)
    coverage = np.ones((64, 64))
    coverage[10:50, 20:40] = 0.0
    assert pull_push(picture * coverage, coverage) == pytest.approx(picture)


def test_the_face_is_looked_for_in_the_argument_the_environment_beside_and_in_the_cache(
    tmp_path, monkeypatch
):
    named, environment, beside, cache = (tmp_path / n for n in 'abcd')
    for place in (named, environment, beside, cache / 'cs3d_ros'):
        (place / MESH_FILE).parent.mkdir(parents=True)
        (place / MESH_FILE).touch()
    monkeypatch.setattr(asset_files, 'BESIDE_REPOSITORY', beside)
    monkeypatch.setenv('XDG_CACHE_HOME', str(cache))
    monkeypatch.setenv('CS3D_ASSETS', str(environment))
    found = [assets_folder(named), assets_folder()]
    monkeypatch.delenv('CS3D_ASSETS')
    found.append(assets_folder())
    (beside / MESH_FILE).unlink()
    found.append(assets_folder())
    assert found == [named, environment, beside, cache / 'cs3d_ros']


def test_a_face_found_nowhere_is_named_with_the_commands(tmp_path, monkeypatch):
    monkeypatch.setattr(asset_files, 'BESIDE_REPOSITORY', tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.delenv('CS3D_ASSETS', raising=False)
    with pytest.raises(AssetsError, match=r'git clone .*ICT-FaceKit.*data\.assets pack'):
        load_assets()


def test_a_broken_packed_face_is_named(tmp_path):
    (tmp_path / 'ict_facekit').mkdir()
    (tmp_path / MESH_FILE).write_bytes(b'PK\x03\x04 cut short')
    with pytest.raises(AssetsError, match=r'ict_face_light\.npz: cannot be read'):
        load_assets(tmp_path)


def test_a_folder_of_skins_without_brows_is_no_reason_to_paint(face_folder, tmp_path):
    (tmp_path / 'ict_facekit').symlink_to(face_folder / 'ict_facekit')
    folder = tmp_path / SKIN_PARTS['skins'][0]
    folder.mkdir(parents=True)
    (folder / 'young_lightskinned_male_diffuse_grey.png').touch()
    with pytest.raises(AssetsError, match=r'brows: no eyebrow.*makehuman-assets'):
        load_assets(tmp_path)


def test_nothing_to_pack_is_an_error_with_the_commands(capsys):
    with pytest.raises(SystemExit):
        main(['pack'])
    assert 'git clone' in capsys.readouterr().err


@pytest.fixture(scope='module')
def painted(face_folder, tmp_path_factory):
    """Return the assets of a folder that has a face and no skins."""
    folder = tmp_path_factory.mktemp('painted')
    (folder / 'ict_facekit').symlink_to(face_folder / 'ict_facekit')
    return load_assets(folder)


def test_without_skins_they_are_painted(painted):
    assert len(painted.skins) >= 12 and all(n.startswith('procedural') for n in painted.skins)
    assert len(set(painted.skins)) == len(painted.skins)
    assert FaceModel(painted).skin_count == len(painted.skin_uv)


@pytest.mark.parametrize('kind', ['skin', 'brow', 'iris'])
def test_a_painted_picture_depends_on_its_name_alone(painted, face_folder, kind):
    again = load_assets(painted.folder)
    names = getattr(painted, {'skin': 'skins', 'brow': 'brows', 'iris': 'irises'}[kind])[:3]
    pictures = [getattr(painted, kind)(name) for name in names]
    backwards = [getattr(again, kind)(name) for name in names[::-1]][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(pictures, backwards))
    assert not np.array_equal(pictures[0], pictures[1])
    assert all(p.dtype == np.float32 and 0 <= p.min() and p.max() <= 1 for p in pictures)


def test_dark_painted_skins_are_darker_than_light_ones(painted):
    tone = {n: np.median(painted.skin(n)[230:330, 180:330]) for n in painted.skins}
    dark = [v for n, v in tone.items() if 'darkskinned' in n]
    light = [v for n, v in tone.items() if 'lightskinned' in n]
    assert max(dark) < min(light) and 0.02 < min(dark) and max(light) < 0.6


def test_lips_and_nostrils_of_light_skins_are_darker_than_cheeks(painted):
    marks = (painted.skin_uv[painted.landmarks] * 512).astype(int)
    lip = [(marks[51] + marks[62]) // 2, (marks[57] + marks[66]) // 2]
    lip.append((marks[31] + marks[32]) // 2 + (1, -7))
    cheek = marks[[31, 35]] + ((-50, 10), (50, 10))
    for skin in (painted.skin(n) for n in painted.skins if 'lightskinned' in n):
        soft = cv2.GaussianBlur(skin, (0, 0), 2.0)
        shade = [soft[y, x] / soft[cheek[:, 1], cheek[:, 0]].mean() for x, y in lip]
        assert max(shade) < 0.93


def test_painted_brows_lie_over_the_eyes(painted):
    marks = painted.skin_uv[painted.landmarks] * 512
    for name in painted.brows:
        rows, columns = np.nonzero(painted.brow(name) > 0.2)
        assert marks[17:27, 1].min() - 15 < rows.min() and rows.max() < marks[36:48, 1].min()
        assert marks[17, 0] - 12 < columns.min() and columns.max() < marks[26, 0] + 12
        assert not ((columns > marks[21, 0] + 8) & (columns < marks[22, 0] - 8)).any()


def test_painted_irises_have_a_pupil_a_limbus_and_a_white(painted):
    for name in painted.irises:
        iris = painted.iris(name)
        radius = np.hypot(*(np.mgrid[:128, :128] - 63.5)) / 53.3
        at = [iris[np.abs(radius - r) < 0.04].mean() for r in (0.1, 0.7, 0.97, 1.15)]
        assert at[0] < at[2] < min(at[1], at[3])


def test_a_name_that_is_not_painted_is_refused(painted):
    with pytest.raises(ValueError, match='procedural_99'):
        painted.skin('procedural_99')
