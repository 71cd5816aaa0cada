"""
Stand-ins for ROS where there is none, as on the Python of a Jetson Nano; `install` puts them in.

They hold what our nodes and launch file use and nothing else, and refuse all other names: messages
take the fields that their definitions have, modules the names that Humble has. What they take and
hold is tested against the real ones where those are (`test/nodes/test_stubs_are_true.py`).
"""

import pathlib
import sys
import types

import rclpy_stubs

INTERFACES = pathlib.Path(__file__).resolve().parent.parent / 'interfaces'

# Of messages that every ROS distribution brings: fields as in a .msg file, only those used.
DEFINITIONS = {
    'builtin_interfaces/Time': 'int32 sec\nuint32 nanosec',
    'std_msgs/Header': 'builtin_interfaces/Time stamp\nstring frame_id',
    'sensor_msgs/Image': (
        'std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\n'
        'uint8 is_bigendian\nuint32 step\nuint8[] data'
    ),
    'diagnostic_msgs/KeyValue': 'string key\nstring value',
    'diagnostic_msgs/DiagnosticStatus': (
        'byte OK=0\nbyte WARN=1\nbyte ERROR=2\nbyte STALE=3\nbyte level\nstring name\n'
        'string message\nstring hardware_id\nKeyValue[] values'
    ),
    'diagnostic_msgs/DiagnosticArray': 'std_msgs/Header header\nDiagnosticStatus[] status',
    'rcl_interfaces/FloatingPointRange': 'float64 from_value\nfloat64 to_value\nfloat64 step',
    'rcl_interfaces/IntegerRange': 'int64 from_value\nint64 to_value\nuint64 step',
    'rcl_interfaces/SetParametersResult': 'bool successful\nstring reason',
    'rcl_interfaces/ParameterDescriptor': (
        'string name\nuint8 type\nstring description\nstring additional_constraints\n'
        'bool read_only\nbool dynamic_typing\nFloatingPointRange[] floating_point_range\n'
        'IntegerRange[] integer_range'
    ),
}
NUMBERS = ('bool', 'byte', 'char', 'float', 'int', 'uint')


class Message:
    """What every message does: it takes its fields by name, and no others."""

    __slots__ = ()
    DEFAULTS = {}

    def __init__(self, **fields):
        for name, make in self.DEFAULTS.items():
            setattr(self, name, fields.pop(name) if name in fields else make())
        if fields:
            raise AssertionError('{} has no {}'.format(type(self).__name__, ', '.join(fields)))

    def __eq__(self, other):
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name) for name in self.DEFAULTS
        )

    @classmethod
    def get_fields_and_field_types(cls):
        """Return the fields; the types are nobody's matter here."""
        return dict.fromkeys(cls.DEFAULTS, '')


def definitions():
    """Return the text of every message by package/Name, those of interfaces/ from their files."""
    own = {
        '{}/{}'.format(path.parent.parent.name, path.stem): path.read_text()
        for path in sorted(INTERFACES.glob('*/msg/*.msg'))
    }
    return dict(own, **DEFINITIONS)


def message_classes():
    """Return the class of every message by package/Name."""
    classes = {}
    texts = definitions()

    def class_of(name):
        if name not in classes:
            classes[name] = _message_class(name, texts[name], class_of)
        return classes[name]

    for name in texts:
        class_of(name)
    return classes


def _message_class(name, text, class_of):
    package, short = name.split('/')
    defaults, constants = {}, {}
    for line in text.splitlines():
        kind, _, rest = line.partition('#')[0].strip().partition(' ')
        if not kind:
            continue
        field, _, value = rest.strip().partition('=')
        if value:
            constants[field] = _constant(kind, value)
        elif kind.endswith(']'):
            defaults[field] = list
        elif kind == 'string':
            defaults[field] = str
        elif kind.startswith(NUMBERS):
            defaults[field] = float if kind.startswith('float') else int
        else:
            defaults[field] = class_of(kind if '/' in kind else '{}/{}'.format(package, kind))
    constants['TYPE_NAME'] = '{}/msg/{}'.format(package, short)
    namespace = dict(constants, DEFAULTS=defaults, __slots__=tuple(defaults))
    return type(short, (Message,), namespace)


def _constant(kind, value):
    if kind == 'string':
        return value.strip('"')
    return bytes([int(value)]) if kind == 'byte' else int(value)


class Arguments:
    """What launch actions are: what they were given, by name."""

    def __init__(self, *values, **named):
        self.values, self.named = values, named


class LaunchConfiguration:
    """An argument, whose value the context knows."""

    def __init__(self, variable_name):
        self._name = variable_name

    def perform(self, context):
        """Return its value."""
        return context.launch_configurations[self._name]


class LaunchDescription:
    """A list of actions."""

    def __init__(self, initial_entities=None):
        self.entities = list(initial_entities or [])


def _launch_modules():
    kinds = {
        'launch.actions': (
            'DeclareLaunchArgument',
            'OpaqueFunction',
            'SetEnvironmentVariable',
            'Shutdown',
        ),
        'launch_ros.actions': ('Node',),
        'launch_ros.parameter_descriptions': ('ParameterValue',),
    }
    modules = {
        module: {name: type(name, (Arguments,), {}) for name in names}
        for module, names in kinds.items()
    }
    modules['launch'] = {'LaunchDescription': LaunchDescription}
    modules['launch.substitutions'] = {'LaunchConfiguration': LaunchConfiguration}
    return modules


def stubbed():
    """Return what every stub module holds: names to values, by the module's name."""
    modules = dict(rclpy_stubs.MODULES, **_launch_modules())
    for name, kind in message_classes().items():
        package, short = name.split('/')
        modules.setdefault(package + '.msg', {})[short] = kind
    modules['lifecycle_msgs.srv'] = {'ChangeState': type('ChangeState', (), {})}
    return modules


def install():
    """Put the stubs in the place of ROS in this process; whatever else of it is not there."""
    modules = stubbed()
    for name in sorted(set(modules) | {name.split('.')[0] for name in modules}):
        module = types.ModuleType(name, 'A stand-in.')
        module.__dict__.update(modules.get(name, {}))
        sys.modules[name] = module
        package, _, child = name.rpartition('.')
        if package:
            setattr(sys.modules[package], child, module)
