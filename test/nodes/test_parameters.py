import pathlib

import pytest

from cs3d_ros import Cs3dError
from cs3d_ros.inference import EmotionSettings
from cs3d_ros.nodes import parameters

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_shipped_yaml_holds_every_default():
    text = (ROOT / 'config' / 'cs3d.yaml').read_text()
    assert text == parameters.yaml_text(), (
        'run: python -m cs3d_ros.nodes.parameters yaml > config/cs3d.yaml'
    )


def test_yaml_reads_back_as_the_defaults():
    yaml = pytest.importorskip('yaml')
    read = yaml.safe_load(parameters.yaml_text())
    assert {name: node['ros__parameters'] for name, node in read.items()} == {
        '/**/' + node: parameters.defaults(node) for node in parameters.TABLES
    }


@pytest.mark.parametrize('node', parameters.TABLES)
def test_readme_holds_the_table_of_each_node(node):
    readme = ROOT / 'README.md'
    if not readme.exists():
        pytest.skip('no README yet')
    assert parameters.markdown_table(node) in readme.read_text(), (
        'run: python -m cs3d_ros.nodes.parameters markdown'
    )


@pytest.mark.parametrize('node', parameters.TABLES)
def test_defaults_pass_their_own_checks(node):
    values, refusals = parameters.check_values(node, parameters.defaults(node))
    assert values == parameters.defaults(node)
    assert refusals == {}


@pytest.mark.parametrize('node', parameters.TABLES)
def test_every_parameter_explains_itself_in_a_sentence(node):
    for parameter in parameters.TABLES[node]:
        assert parameter.text.endswith('.')
        assert (parameter.lowest is None) == (parameter.highest is None)


def test_unknown_name_is_refused_with_the_nearest_one():
    refusals = parameters.check_values('player', {'pth': 'x'})[1]
    assert refusals == {'pth': "player has no parameter 'pth': did you mean 'path'?"}


def test_strange_name_is_refused_with_all_that_there_are():
    refusals = parameters.check_values('inference', {'zzz': 1})[1]
    assert 'it has autostart, diagnostics_s, bundle, backend, precision, ' in refusals['zzz']


@pytest.mark.parametrize('name', ['use_sim_time', 'qos_overrides./events.publisher.depth'])
def test_names_of_ros_itself_pass(name):
    assert parameters.check_values('player', {name: 1})[1] == {}


def test_whole_number_will_do_for_a_float():
    values, refusals = parameters.check_values('player', {'rate': 2})
    assert (values['rate'], type(values['rate']), refusals) == (2.0, float, {})


@pytest.mark.parametrize(
    'node, name, value, words',
    [
        ('player', 'rate', 'fast', "expects a float, got 'fast'"),
        ('player', 'rate', True, 'expects a float, got True'),
        ('player', 'rate', 0.0, 'must lie in 0.01 to 100 x, got 0.0'),
        ('player', 'rate', float('nan'), 'must lie in'),
        ('player', 'loop', 1, 'expects a bool, got 1'),
        ('player', 'path', 7, 'expects a string, got 7'),
        ('inference', 'threads', 2.0, 'expects an int, got 2.0'),
        ('preprocessing', 'roi', [1.0, 2.0], 'expects 4 floats'),
        ('preprocessing', 'roi', '1234', 'expects 4 floats'),
        ('preprocessing', 'roi', [1.0, 2.0, -3.0, 4.0], 'must lie in 0 to 65536 px'),
    ],
)
def test_bad_value_is_refused_and_the_default_kept(node, name, value, words):
    values, refusals = parameters.check_values(node, {name: value})
    assert words in refusals[name]
    assert values == parameters.defaults(node)


def test_settling_is_the_bundle_s_where_no_parameter_is_given():
    settling = EmotionSettings(rate_hz=3.0, name_unproven=True)
    assert parameters.settling_of(parameters.defaults('inference'), settling) == settling


def test_every_field_of_settling_may_be_given():
    given = EmotionSettings(1.0, 0.5, 2.0, 3.0, 0.0, 0.6, 0.4, 5.0, True)
    values = dict(parameters.defaults('inference'), **given._asdict())
    assert parameters.check_values('inference', values) == (values, {})
    assert parameters.settling_of(values, EmotionSettings()) == given


def test_settling_out_of_range_is_refused_by_the_name_of_the_parameter():
    values = dict(parameters.defaults('inference'), change_prior=0.0, dwell_s=0.3)
    with pytest.raises(Cs3dError, match='^parameter change_prior must be between 0 and 1, got 0'):
        parameters.settling_of(values, EmotionSettings())


@pytest.mark.parametrize('field', [f for f in EmotionSettings._fields if f != 'name_unproven'])
def test_highest_value_of_settling_that_a_table_allows_can_be_had(field):
    table = {parameter.name: parameter for parameter in parameters.TABLES['inference']}
    values = dict(parameters.defaults('inference'), **{field: table[field].highest})
    assert getattr(parameters.settling_of(values, EmotionSettings()), field) == values[field]
