import pytest

pytest.importorskip('cv2')
pytest.importorskip('h5py')
pytest.importorskip('torch')

import cv2

from training.data.clips import DataError
from training.experiments.document import PARTS, write_document
from training.experiments.reported import STREAM
from training.experiments.results import command, write_result
from training.experiments.tables import percent


def scores(accuracy):
    return {
        'accuracy': accuracy,
        'macro_f1': accuracy - 0.01,
        'mean_recall': accuracy - 0.1,
        'chance': 0.5,
        'trials': 20,
    }


def run(seed, accuracy, **more):
    own = scores(accuracy)
    return {
        'seed': seed,
        'standard': own,
        'all': own,
        'ece': 0.03,
        'windows_seen': 4096,
        'silent': {'a': 0.4, 'b': 0.6},
        'sparse_energy_mj': 2.0,
        **more,
    }


def network(name, accuracies, macs):
    runs = [run(seed, accuracy) for seed, accuracy in enumerate(accuracies, 1)]
    return {
        'name': name,
        'macs': macs,
        'parameters': 1e6,
        'learning_rate': 1e-3,
        'runs': runs,
    }


RATES = {'rates': [1e-3, 3e-3]}


def cost(macs, onnx_ms, energy=None):
    return {
        'macs': macs,
        'parameters': 2e6,
        'activation_bytes': 3e6,
        'energy_mj': macs * 4.6e-9,
        'onnx_ms': onnx_ms and {'median': onnx_ms, 'mean': onnx_ms, 'worst': 2 * onnx_ms},
        'torch_ms': {'median': 9.0, 'mean': 9.0, 'worst': 9.0},
        'memory_mb': {'before': 40.0, 'peak': 52.0},
        'energy': energy and {'joules': energy},
        'energy_problem': None if energy else 'not measurable here; there is no counter',
    }


MACHINE = {'cpu': 'some CPU', 'threads': 2, 'onnxruntime': '1.23', 'torch': '2.13'}


@pytest.fixture
def folders(tmp_path):
    """Return the folder of results, and the document that is to be written."""
    (tmp_path / 'docs').mkdir()
    return tmp_path / 'out', tmp_path / 'docs' / 'results.md'


def written(folders):
    out, document = folders
    out.mkdir(exist_ok=True)
    write_document(out, document)
    return document.read_text()


def test_document_of_nothing_names_every_part_and_its_command(folders):
    text = written(folders)
    for part in PARTS.values():
        assert '## ' + part.title in text
        assert part.command in text
    assert text.count('Not run yet') == len(PARTS)


def test_ladder_tells_means_with_their_intervals(folders):
    rows = [network('C3D', [0.5, 0.6, 0.7], 4e9), network('+ attention', [0.6, 0.7, 0.8], 2e8)]
    write_result(folders[0], 'ladder', {'rows': rows, **RATES}, 'widths × 0.25')
    text = written(folders)
    assert (
        '| C3D | 60.0 ± 24.8 | 50.0 ± 24.8 | 0.590 ± 0.248 |' in text
    )  # t = 4.303, deviation 10 of three seeds
    assert 'less `C3D`, same seeds: 10.0 ± 0.0 points' in text
    assert '21.29 G operations' in text
    assert 'be right in 50.0%' in text
    assert '| 50.0 ± 0.0 | 2.00 ± 0.00 |' in text
    assert 'Neurons of `C3D` that are silent, layer by layer, %: 40, 60.' in text
    assert 'widths × 0.25' in text
    assert 'one of the rates 0.001, 0.003 after which' in text
    assert text.count('Not run yet') == len(PARTS) - 1


def test_networks_that_learn_for_longer_stand_beneath_the_ladder(folders):
    short = [network('C3D', [0.3, 0.3, 0.3], 4e9)]
    long = [network('C3D', [0.5, 0.6, 0.7], 4e9), network('+ attention', [0.6, 0.7, 0.8], 2e8)]
    write_result(folders[0], 'ladder', {'rows': short, **RATES}, '6 epochs')
    write_result(folders[0], 'longer', {'rows': long, **RATES}, '24 epochs')
    text = written(folders)
    assert text.index('6 epochs') < text.index('| C3D | 30.0') < text.index('24 epochs')
    assert text.index('24 epochs') < text.index('| C3D | 60.0')
    assert text.count('less `C3D`, same seeds: 10.0 ± 0.0 points') == 1
    assert text.count("The paper's own column") == 1


def test_sections_stay_as_they_are_where_the_folder_holds_no_run_of_them(folders, tmp_path):
    own = {'rows': [network('C3D', [0.3, 0.3, 0.3], 4e9)], **RATES}
    write_result(folders[0], 'ladder', own, '6 epochs')
    write_result(folders[0], 'longer', own, '24 epochs')
    before = written(folders)
    assert written(folders) == before
    elsewhere = tmp_path / 'elsewhere'
    assert written((elsewhere, folders[1])) == before
    write_result(elsewhere, 'ladder', own, '48 epochs')
    assert written((elsewhere, folders[1])) == before.replace('6 epochs', '48 epochs')


def test_document_that_is_no_text_is_told_and_kept(folders):
    folders[1].write_bytes(b'\xff\xfe')
    with pytest.raises(DataError, match='results.md cannot be read'):
        written(folders)
    assert folders[1].read_bytes() == b'\xff\xfe'


def test_training_that_broke_off_is_told_and_not_averaged(folders):
    row = network('C3D', [0.5, 0.7], 4e9)
    row['runs'].append({'seed': 3, 'failed': 'the loss became nan'})
    write_result(folders[0], 'ladder', {'rows': [row], **RATES})
    text = written(folders)
    assert '| C3D | 60.0 ±' in text
    assert '1 of 3 broke off' in text


def test_set_without_a_standard_condition_has_no_figures_of_one(folders):
    rows = [network(name, [0.6, 0.7], 1e8) for name in ('C3D', '+ attention')]
    for row in rows:
        row['runs'] = [{**run, 'standard': None} for run in row['runs']]
    write_result(folders[0], 'ladder', {'rows': rows, **RATES})
    text = written(folders)
    assert '| C3D | – | – | – | 65.0 ±' in text
    assert 'same seeds: – points (at least equal is asked for); of mean recall' in text


def test_single_seed_has_no_interval():
    assert percent([0.5]) == '50.0 (1 seed)'


def test_costs_are_told_beside_their_bars(folders):
    rows = {
        'C3D': cost(37.8e9, 200.0),
        '+ attention': {**cost(1.9e9, 40.0), 'int8_ms': {'median': 25.0}},
        STREAM: cost(3e7, 1.0, energy=0.02),
        'spiking': cost(1e9, None),
    }
    write_result(folders[0], 'costs', {'machine': MACHINE, 'widths': {'1': rows}})
    text = written(folders)
    assert 'MACs of CS3D: 5.0% of those of C3D (bar: 6 %)' in text
    assert 'CS3D in ONNX Runtime: 20.0% of the time of C3D (bar: 18 %)' in text
    assert 'CS3D in 8 bits: 12.5% of the time of C3D' in text
    assert '1.00 ms on average, 2.00 ms at worst (bars: 2.5, 5), 1/200 of a clip of C3D' in text
    assert 'no ONNX form' in text
    assert 'there is no counter' in text
    assert '| 0.020 |' in text


def test_sensitivity_shows_where_training_broke_off(folders):
    known = {'mean_recall': 0.5, 'signs': ['SSN layers fall silent']}
    cells = [
        {'theta': 0.0, 'beta': 1.0, **known},
        {'theta': 0.0, 'beta': 16.0, 'failed': 'the loss became nan'},
    ]
    result = {'network': 'CS3D', 'thetas': [0.0, 0.5], 'betas': [1.0, 16.0], 'cells': cells}
    write_result(folders[0], 'sensitivity', result)
    text = written(folders)
    assert '| 0 | 50.0 | broke off |' in text
    assert '| 0.5 | not run | not run |' in text
    assert 'SSN layers fall silent' in text
    assert cv2.imread(str(folders[1].with_suffix('') / 'sensitivity.png')) is not None


def test_light_without_grey_frames_says_so(folders):
    result = {'network': 'CS3D', 'levels': ['standard', 'low_light_3'], 'is_uneven': False}
    result['grey'] = {}
    result['events'] = {
        'standard': [scores(0.8), scores(0.9)],
        'low_light_3': [scores(0.5), scores(0.6)],
    }
    write_result(folders[0], 'light', result)
    text = written(folders)
    assert '| low_light_3 | 0.03 | 20 | 55.0 ± 63.5 | 45.0 ± 63.5 | not run | not run |' in text
    assert cv2.imread(str(folders[1].with_suffix('') / 'light.png')) is not None


def test_cross_folds_and_ablation_have_their_tables(folders):
    pair = {'train': 'A', 'test': 'B', 'trials': 90, 'runs': [{'seed': 1, **scores(0.4)}]}
    write_result(folders[0], 'cross', {'network': 'CS3D', 'pairs': [pair]})
    own = {**scores(0.5), 'trials': 20, 'accuracy_95': [0.3, 0.7]}
    folds = [{'identities': ['s01', 's02'], **own}]
    write_result(folders[0], 'folds', {'network': 'CS3D', 'folds': folds, 'together': own})
    settled = {'found_right': 3, 'onsets': 4, 'loud': 1, 'neutral': 10}
    real = {**settled, 'auc': 0.8, 'returned_right': 1, 'returns': 2, 'loud_share': 0.1}
    tried = {'seed': 1, 'standard': 0.7, 'hard': 0.5, 'settled': settled, 'real': real}
    rows = [
        {'name': 'windows', 'changes': 'nothing', 'runs': [{**tried, 'score': 0.4}]},
        {'name': 'no jitter', 'changes': 'jitter', 'runs': [{**tried, 'hard': 0.3, 'score': 0.2}]},
    ]
    rows = [{**row, 'base': 'windows'} for row in rows]
    write_result(folders[0], 'ablation', {'rule': 'The score is so and so.', 'rows': rows})
    text = written(folders)
    assert '| A | B | 40.0 (1 seed) | 30.0 (1 seed) |' in text
    assert '| 1 | 2 | 50.0 | 40.0 | 20 |' in text
    assert 'The score is so and so.' in text
    assert '| nothing | 70.0 (1 seed) | 50.0 (1 seed) | – |' in text
    assert '| jitter | 70.0 (1 seed) | 30.0 (1 seed) | -20.0 (1 seed) |' in text
    assert '| 75% of 4 | 10% of 10 | 0.80 (1 seed) | 75% of 4 | 50% of 2 |' in text


def test_damaged_result_is_told(folders):
    out, document = folders
    out.mkdir()
    (out / 'ladder.json').write_text('{')
    with pytest.raises(DataError, match='ladder.json is no result'):
        write_document(out, document)


def test_result_names_the_command_that_made_it_and_no_place_on_this_machine(monkeypatch):
    monkeypatch.setattr('sys.argv', ['/a/__main__.py', 'cross', '/b/faces', 'c/d', '--out', '/e'])
    assert command() == 'python -m training.experiments cross faces c/d --out e'
