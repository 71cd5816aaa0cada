"""
Every parameter of every node, in one table per node; no ROS in here.

The nodes declare from these tables, ``config/cs3d.yaml`` and the README's tables are made of them
(``python -m cs3d_ros.nodes.parameters yaml`` or ``markdown``) and tested equal.
"""

import difflib
import sys
from typing import Any, Dict, Iterable, Tuple

from cs3d_ros import Cs3dError
from cs3d_ros.events.recordings import READABLE
from cs3d_ros.inference import BACKENDS, PRECISIONS, EmotionSettings
from cs3d_ros.nodes.parameter import ALWAYS, START, Parameter
from cs3d_ros.simulator import PRESETS

_AUTOSTART = Parameter(
    'autostart',
    True,
    'Configure and activate at start; false leaves that to a lifecycle manager.',
    when=START,
)

_DIAGNOSTICS = Parameter(
    'diagnostics_s', 1.0, 'Time between two reports on /diagnostics.', 's', 0.1, 60.0, START
)

_BUNDLE = Parameter(
    'bundle', '', 'ONNX bundle of the network; empty means the one that the package ships.'
)

_BY_BUNDLE = -1.0  # stands for what the bundle says, fitted for its network
_UNSURE = 0.999  # highest of probabilities that may not be 1


def _settling(name: str, text: str, unit: str, highest: float) -> Parameter:
    return Parameter(
        name, _BY_BUNDLE, text + ' -1: as the bundle says.', unit, _BY_BUNDLE, highest
    )


# The fields of EmotionSettings, by their names.
_SETTLING = (
    _settling('rate_hz', 'Rate at which a sure estimate moves the belief.', 'Hz', 1000.0),
    _settling('change_prior', 'Prior probability that a clip shows a change.', '', _UNSURE),
    _settling('forget_s', 'Time constant of forgetting while nothing changes.', 's', 1e4),
    _settling('absent_s', 'Time constant of forgetting without a face.', 's', 1e4),
    _settling('dwell_s', 'Time that an expression leads before it is named.', 's', 60.0),
    _settling('prior_neutral', 'Probability of neutral before anything was seen.', '', _UNSURE),
    _settling('least_confidence', 'Confidence below which neutral is named instead.', '', _UNSURE),
    _settling('hold_s', 'Time after which an expression that goes on is let go.', 's', 1e4),
    Parameter(
        'name_unproven',
        EmotionSettings().name_unproven,
        'Name expressions, too, that the card of the bundle calls unproven on real people.',
    ),
)

_SENDING = (
    Parameter('message_ms', 10.0, 'Sensor time per message.', 'ms', 0.1, 100.0),
    Parameter('frame_id', 'event_camera', 'frame_id of the messages.'),
    Parameter(
        'message_type',
        'event_array',
        'What to send: dv_ros2_msgs/EventArray, or event_camera_msgs/EventPacket, which takes '
        'a third of the bytes and whole microseconds.',
        choices=('event_array', 'event_packet'),
    ),
)

TABLES = {
    'player': (
        _AUTOSTART,
        _DIAGNOSTICS,
        Parameter(
            'path',
            '',
            'Recording ({}), or video that the event camera simulator turns into events, to '
            'play.'.format(READABLE),
        ),
        Parameter(
            'rate',
            1.0,
            'Speed of playing; 2 plays twice as fast, event times stay as recorded; below 1 '
            'preprocessing needs idle_ms 0.',
            'x',
            0.01,
            100.0,
            ALWAYS,
        ),
        Parameter('loop', False, 'Begin again at the end, with event times that go on.'),
        Parameter('wait_for', 1, 'Subscribers to wait for before the first message.', '', 0, 100),
    )
    + _SENDING,
    'webcam': (
        _AUTOSTART,
        _DIAGNOSTICS,
        Parameter(
            'source',
            '0',
            'Number of the camera; or a video file or folder of images in its place.',
        ),
        Parameter(
            'fps',
            0.0,
            'Images per second of a folder of images; 0 for all else, which tells its times.',
            'Hz',
            0.0,
            1e5,
        ),
        Parameter(
            'width',
            346,
            'Width of the sensor, at most that of the picture, whose shape it has.',
            'px',
            32,
            4096,
        ),
        Parameter('preset', 'ideal', 'Sensor that is simulated.', choices=tuple(PRESETS)),
        Parameter(
            'upsample',
            0,
            'Frames to make of each by optical flow; 0 makes as many as the motion needs, 1 none.',
            '',
            0,
            16,
        ),
    )
    + _SENDING,
    'preprocessing': (
        _AUTOSTART,
        _DIAGNOSTICS,
        _BUNDLE,
        Parameter(
            'roi',
            [0.0, 0.0, 0.0, 0.0],
            'Fixed face box x, y, width, height in place of '
            'the face finder; all zero means find the face.',
            'px',
            0.0,
            65536.0,
        ),
        Parameter(
            'queue_depth',
            1000,
            'Messages that may wait on events before the oldest is dropped.',
            '',
            100,
            100000,
        ),
        Parameter(
            'idle_ms',
            250.0,
            'Silence on events after which a still period becomes a frame; 0 waits for the next '
            'event, which a player slower than its recording needs.',
            'ms',
            0.0,
            10000.0,
            ALWAYS,
        ),
        Parameter(
            'hot_pixels',
            False,
            'Drop the events of pixels that fire by themselves, learned anew each second.',
        ),
        Parameter(
            'flicker_hz',
            0.0,
            'Drop the events of lamps that flicker at this rate, twice the mains: 100 or 120; '
            '0 drops none.',
            'Hz',
            0.0,
            1000.0,
        ),
        Parameter(
            'refractory_us',
            0.0,
            'Drop the events of a pixel for this long after one that was kept; 0 drops none.',
            'us',
            0.0,
            1000000.0,
        ),
        Parameter(
            'background_activity_ms',
            0.0,
            'Drop events that none of the 8 neighbouring pixels preceded within this time, which '
            'is noise; 0 drops none.',
            'ms',
            0.0,
            1000.0,
        ),
        Parameter(
            'max_events_per_s',
            0.0,
            'Thin out what exceeds this many events, fairly over the sensor; 0 drops none.',
            'events/s',
            0.0,
            1e9,
        ),
    ),
    'inference': (
        _AUTOSTART,
        _DIAGNOSTICS,
        _BUNDLE,
        Parameter(
            'backend',
            BACKENDS[0],
            'What runs the network; auto is TensorRT if it works here, else ONNX Runtime.',
            choices=BACKENDS,
        ),
        Parameter(
            'precision',
            PRECISIONS[0],
            'What TensorRT computes in; int8 needs a quantised bundle.',
            choices=PRECISIONS,
        ),
        Parameter(
            'engine_cache',
            '',
            'Folder where engines of TensorRT are kept; empty means '
            '$XDG_CACHE_HOME/cs3d_ros/engines.',
        ),
        Parameter('threads', 2, 'Threads of ONNX Runtime.', '', 1, 64),
        Parameter(
            'queue_frames',
            16,
            'Face images that may wait for the network before new ones are dropped.',
            '',
            1,
            1000,
        ),
    )
    + _SETTLING,
    'power': (
        _AUTOSTART,
        _DIAGNOSTICS,
        Parameter(
            'sample_ms', 50.0, 'Time between two readings of the meters.', 'ms', 20.0, 100.0
        ),
        Parameter(
            'window_s', 1.0, 'Time over which /power gives its statistics.', 's', 0.5, 600.0
        ),
        Parameter(
            'idle_file',
            '',
            'Idle power that cs3d power --idle stored; empty means where it stores by default.',
        ),
        Parameter('root', '/', 'Folder that holds the sys tree to read the meters from.'),
    ),
}  # type: Dict[str, Tuple[Parameter, ...]]

# Names that ROS itself declares or reads on every node.
_OF_ROS = ('use_sim_time', 'start_type_description_service')


def defaults(node: str) -> Dict[str, Any]:
    """Return name and default of every parameter of a node."""
    return {parameter.name: parameter.default for parameter in TABLES[node]}


def check_values(node: str, values: Dict[str, Any]) -> Tuple[Dict[str, Any], Dict[str, str]]:
    """
    Return the values to use, defaults where none is given, and by name why one is refused.

    Examples
    --------
    >>> check_values('player', {'rate': 2, 'lop': True})[1]
    {'lop': "player has no parameter 'lop': did you mean 'loop'?"}
    """
    known = {parameter.name: parameter for parameter in TABLES[node]}
    result, refusals = defaults(node), {}
    for name, value in sorted(values.items()):
        if name in _OF_ROS or name.startswith('qos_overrides.'):
            continue
        if name not in known:
            refusals[name] = unknown_reason(node, name)
            continue
        try:
            result[name] = known[name].check(value)
        except ValueError as error:
            refusals[name] = str(error)
    return result, refusals


def settling_of(values: Dict[str, Any], settling: EmotionSettings) -> EmotionSettings:
    """
    Return how the inference node settles: as its bundle says, but for what parameters say.

    Raises
    ------
    Cs3dError
        If a value is out of the range that a setting has.

    Examples
    --------
    >>> settling_of(dict(defaults('inference'), dwell_s=0.3), EmotionSettings(rate_hz=4.0))[:1]
    (4.0,)
    """
    given = {
        parameter.name: values[parameter.name]
        for parameter in _SETTLING
        if values[parameter.name] != parameter.default
    }
    settings = settling._replace(**given)
    try:
        settings.check()
    except ValueError as error:
        raise Cs3dError('parameter {}, or -1 for what the bundle says'.format(error)) from error
    return settings


def unknown_reason(node: str, name: str) -> str:
    """Return why a name is refused: the nearest one that is known, or all of them."""
    names = [parameter.name for parameter in TABLES[node]]
    near = difflib.get_close_matches(name, names, 1)
    cure = 'did you mean {!r}?'.format(near[0]) if near else 'it has ' + ', '.join(names)
    return '{} has no parameter {!r}: {}'.format(node, name, cure)


def yaml_text() -> str:
    """Return ``config/cs3d.yaml``: every parameter of every node at its default."""
    lines = [
        '# Every parameter of every node at its default, for nodes in any namespace.',
        '# Made by: python -m cs3d_ros.nodes.parameters yaml > config/cs3d.yaml',
        '',
    ]
    for node, table in TABLES.items():
        lines += ['/**/{}:'.format(node), '  ros__parameters:']
        for parameter in table:
            lines += [
                '    # ' + _summary(parameter),
                '    {}: {}'.format(parameter.name, _yaml_value(parameter.default)),
            ]
        lines.append('')
    return '\n'.join(lines).rstrip() + '\n'


def markdown_table(node: str) -> str:
    """Return the README's table of a node's parameters."""
    lines = ['| parameter | default | range | change | |', '|---|---|---|---|---|']
    for parameter in TABLES[node]:
        lines.append(
            '| `{}` | `{}` | {} | {} | {} |'.format(
                parameter.name,
                _yaml_value(parameter.default),
                _range(parameter),
                parameter.when,
                parameter.text,
            )
        )
    return '\n'.join(lines)


def _summary(parameter: Parameter) -> str:
    bounds = _range(parameter)
    return parameter.text + (' [{}]'.format(bounds) if bounds else '')


def _range(parameter: Parameter) -> str:
    if parameter.choices:
        return ' or '.join(parameter.choices)
    if parameter.lowest is None:
        return parameter.unit
    return '{:g} to {:g}{}'.format(
        parameter.lowest, parameter.highest, parameter.unit and ' ' + parameter.unit
    )


def _yaml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'{}'".format(value.replace("'", "''"))
    return str(value)


def main(argv: Iterable[str] = ()) -> int:
    """Print the YAML file or the Markdown tables."""
    what = (list(argv) or sys.argv[1:] or [''])[0]
    if what == 'yaml':
        sys.stdout.write(yaml_text())
    elif what == 'markdown':
        for node in TABLES:
            sys.stdout.write('**{}**\n\n{}\n\n'.format(node, markdown_table(node)))
    else:
        sys.stderr.write('usage: python -m cs3d_ros.nodes.parameters yaml|markdown\n')
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
