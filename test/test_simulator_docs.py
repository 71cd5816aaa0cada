import pathlib

from cs3d_ros.simulator import PRESETS, SETTING_HELP, PixelSettings

DOCS = pathlib.Path(__file__).resolve().parent.parent / 'docs' / 'simulator.md'


def shown(value):
    return '{:.4g}'.format(value) if isinstance(value, float) else str(value).lower()


def test_docs_explain_every_setting_as_the_code_does():
    rows = [
        '| `{}` | {} | {} | {} |'.format(name, shown(default), unit, text)
        for (name, (unit, text)), default in zip(SETTING_HELP.items(), PixelSettings())
    ]
    assert '\n'.join(rows) in DOCS.read_text()


def test_docs_tell_what_is_in_every_preset():
    rows = [
        '| `{}` | {} |'.format(
            name, ' | '.join(shown(getattr(each, name)) for each in PRESETS.values())
        )
        for name in PixelSettings._fields
    ]
    assert '\n'.join(rows) in DOCS.read_text()
