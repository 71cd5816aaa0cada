"""Pictures of what was measured."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image  # which matplotlib brings along

from cs3d_ros.files import whole_file
from training.data.clips import DataError
from training.data.world import CONDITIONS
from training.experiments.statistics import mean_95

# of the expressions in the order of EXPRESSIONS: a grey for neutral, then distinct hues
COLOURS = ('#777777', '#2a9d4a', '#f0a202', '#d62839', '#7a4fbf', '#1f77b4', '#e377c2')
PALETTE = 256  # colours of a PNG, which look the same and take a quarter of the bytes
TRUTH_AT, NAMED_AT = 1.18, 1.07  # heights of the bars above the probabilities


def draw_real(path: Path, clip, panels: dict, classes) -> None:
    """
    Write the timelines of a clip: a column per preset, a row per source of faces.

    Thick lines are the settled belief, thin ones the network's own probabilities; the bars above
    are what was true and what was named. The lowest row is the rate of events.

    Parameters
    ----------
    path : Path
        Of the PNG.
    clip : RealClip
    panels : dict
        Answers by (preset, faces).
    classes : sequence of str
    """
    presets = list(dict.fromkeys(preset for preset, _ in panels))
    faces = list(dict.fromkeys(kind for _, kind in panels))
    size = 1.2 + 4.6 * len(presets), 1.6 + 2.6 * len(faces)
    figure = Figure(figsize=size, layout='constrained')
    heights = [4] * len(faces) + [1]
    axes = figure.subplots(
        len(faces) + 1, len(presets), sharex=True, squeeze=False, height_ratios=heights
    )
    colours = dict(zip(classes, COLOURS))
    for column, preset in enumerate(presets):
        for row, kind in enumerate(faces):
            panel = axes[row, column]
            _draw_panel(panel, clip, panels[preset, kind], classes, colours)
            panel.set_title('{}, {}'.format(preset, kind), fontsize=9)
        _draw_rate(axes[-1, column], panels[preset, faces[0]])
        axes[-1, column].set_xlabel('time, s')
    axes[-1, 0].set_ylabel('M events/s')
    handles, labels = axes[0, 0].get_legend_handles_labels()
    title = 'thick: settled\nthin: the network\nshaded: no face\n'
    figure.legend(handles, labels, loc='outside right center', frameon=False, title=title)
    figure.suptitle(clip.name)
    save(figure, path)


def _draw_panel(axes, clip, answers, classes, colours):
    times = np.array([a.t_s for a in answers])
    belief = np.array([a.emotion.probabilities for a in answers])
    own = [(a.t_s, a.estimate) for a in answers if a.estimate is not None]
    for k, name in enumerate(classes):
        axes.plot(times, belief[:, k], color=colours[name], linewidth=2, label=name)
        if own:
            heard = [estimate[k] for _, estimate in own]
            axes.plot([t for t, _ in own], heard, color=colours[name], linewidth=0.6, alpha=0.6)
    absent = np.array([not a.has_face for a in answers])
    axes.fill_between(times, 0, 1, where=absent, color='0.88', step='pre', linewidth=0)
    for interval in clip.intervals:
        _draw_bar(axes, interval.start_s, interval.end_s, TRUTH_AT, interval.expression, colours)
    for start, end, name in _stretches(answers):
        _draw_bar(axes, start, end, NAMED_AT, name, colours)
    axes.text(0.0, TRUTH_AT, 'true ', ha='right', va='center', fontsize=7)
    axes.text(0.0, NAMED_AT, 'named ', ha='right', va='center', fontsize=7)
    axes.axvline(clip.duration_s, color='0.4', linewidth=0.8, linestyle=':')
    axes.set_ylim(0, 1.26)
    axes.set_yticks([0, 0.5, 1])
    axes.set_xlim(0, times[-1])


def _draw_bar(axes, start, end, height, name, colours):
    colour = colours.get(name, 'black')
    axes.plot([start, end], [height] * 2, color=colour, linewidth=5, solid_capstyle='butt')


def _stretches(answers):
    """Yield (start, end, expression) of what was named, one after the other."""
    start = answers[0].t_s
    for answer, following in zip(answers, answers[1:] + [None]):
        name = answer.emotion.expression
        if following is None or following.emotion.expression != name:
            end = answer.t_s if following is None else following.t_s
            yield start, end, name
            start = end


def _draw_rate(axes, answers):
    times = [a.t_s for a in answers]
    axes.fill_between(times, [a.events_hz / 1e6 for a in answers], color='0.6')
    axes.set_ylim(bottom=0)


def save(figure, path: Path) -> None:
    """Write a figure as a PNG of few colours, whole or not at all."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(100)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert('RGB')
    picture = picture.quantize(PALETTE, Image.Quantize.FASTOCTREE)  # keeps rare hues
    with whole_file(str(path), 'wb', DataError) as file:
        picture.save(file, 'PNG', optimize=True)


def draw_sensitivity(path: Path, result: dict) -> None:
    """Write the heat map of mean recall; crosses are trainings that broke off."""
    thetas, betas = result['thetas'], result['betas']
    grid = np.full((len(thetas), len(betas)), np.nan)
    size = 1.6 + 0.9 * len(betas), 1.4 + 0.7 * len(thetas)
    figure = Figure(figsize=size, layout='constrained')
    axes = figure.subplots()
    for cell in result['cells']:
        row, column = thetas.index(cell['theta']), betas.index(cell['beta'])
        if cell.get('failed'):
            axes.text(column, row, '×', ha='center', va='center', color='black', fontsize=16)
        else:
            grid[row, column] = 100 * cell['mean_recall']
    image = axes.imshow(grid, origin='lower', aspect='auto', cmap='viridis')
    middle = (np.nanmin(grid) + np.nanmax(grid)) / 2 if np.isfinite(grid).any() else 0
    for (row, column), value in np.ndenumerate(grid):
        if np.isfinite(value):
            ink = 'black' if value > middle else 'white'
            axes.text(column, row, '{:.0f}'.format(value), ha='center', va='center', color=ink)
    axes.set_xticks(range(len(betas)), ['{:g}'.format(beta) for beta in betas])
    axes.set_yticks(range(len(thetas)), ['{:g}'.format(theta) for theta in thetas])
    axes.set_xlabel('β, steepness of the surrogate gradient')
    axes.set_ylabel('θ, threshold')
    figure.colorbar(image, label='mean recall, %')
    save(figure, path)


def draw_light(path: Path, result: dict) -> None:
    """Write mean recall over light, of events and of grey frames, with 95 % intervals."""
    figure = Figure(figsize=(6, 3.6), layout='constrained')
    axes = figure.subplots()
    for kind, colour, name in (
        ('events', '#2a9d4a', 'events'),
        ('grey', '#777777', 'grey frames of the same scenes'),
    ):
        levels = [c for c in result['levels'] if result[kind].get(c)]
        means = [mean_95([100 * run['mean_recall'] for run in result[kind][c]]) for c in levels]
        if not means:
            continue
        axes.errorbar(
            [CONDITIONS[condition].light for condition in levels],
            [mean.value for mean in means],
            yerr=[mean.half_width or 0.0 for mean in means],
            color=colour,
            label=name,
            marker='o',
            capsize=3,
        )
    axes.set_xscale('log')
    axes.set_xlabel('light, of a well lit room')
    axes.set_ylabel('mean recall, %')
    axes.legend(frameon=False)
    save(figure, path)
