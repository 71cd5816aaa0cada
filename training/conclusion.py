"""How a training ends: its best network is judged on people that it never saw, and reported."""

import json
from pathlib import Path

from training.checkpoints import device, load, network_of, save
from training.data.clips import write_whole
from training.examination import examination_of, temperature_of
from training.metrics import confusion_png, described
from training.models.counter import count
from training.provenance import counted, known_of
from training.settings import TrainSettings
from training.signs import below_reference


def conclude(
    folders,
    out: Path,
    settings: TrainSettings,
    say,
    open_data,
    learnt_from: dict,
    reference: dict | None = None,
    began_with: dict | None = None,
) -> dict:
    """
    Calibrate the best checkpoint, judge it on the test identities, write the report.

    Parameters
    ----------
    learnt_from, began_with : dict
        What known_of tells of the training clips, and begin_with of the weights it began with;
        for checkpoints that do not tell it themselves, as those of older versions.
    """
    best = load(out / 'best.pt')
    network = network_of(best).to(device())
    size = network.settings.size
    chosen_on = open_data(folders, 'val', settings, size)
    validation = examination_of(chosen_on, settings)
    tested = open_data(folders, 'test', settings, size)
    temperature = temperature_of(validation.logits(network), validation.truth)
    result = examination_of(tested, settings).judge(network, temperature)
    cost = count(network)
    report = {
        'model': best['model'],
        'network': best['network_settings'],
        'training': best['train_settings'],
        'epoch': best['epoch'],
        'elapsed_min': best['elapsed_s'] / 60,
        'windows_seen': best['step'] * best['train_settings']['batch'],
        'macs': cost.macs,
        'parameters': cost.parameters,
        'temperature': temperature,
        **counted(best.get('learnt_from') or learnt_from, 'train'),
        **counted(known_of(chosen_on.clips), 'val'),
        **counted(known_of(tested.clips), 'test'),
        'validation': validation.judge(network, temperature),
        'test': result,
        'warnings': list(best['warnings'].values()),
        'began_with': best.get('began_with', began_with),
    }
    below = below_reference(report, reference) if reference else None
    if below:
        report['warnings'].append(below)
        say('warning: ' + below)
    save({**best, 'report': report}, out / 'best.pt')
    write_whole(out / 'report.json', (json.dumps(report, indent=1) + '\n').encode())
    write_whole(out / 'report.txt', (described(result) + '\n').encode())
    write_whole(out / 'confusion.png', confusion_png(result))
    say('test identities, epoch {}:\n{}'.format(best['epoch'], described(result)))
    return report
