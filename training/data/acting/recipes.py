"""The ten expressions as recipes of action units."""

from typing import NamedTuple


class Recipe(NamedTuple):
    """One way to show an expression: levels of action units at the apex."""

    expression: str
    name: str
    share: float  # how often this way is drawn within its expression
    units: dict  # FACS number -> level 0..1; the first two define it
    free: bool = False  # seen on real faces, in no textbook
    one_sided: tuple = ()  # units of one half of the face only
    gaze_deg: tuple = (0.0, 0.0)  # aside, down
    head_deg: tuple = (0.0, 0.0, 0.0)  # yaw aside, pitch down, roll aside
    chest_mm: float = 0.0  # how much the chest swells: up, and as much forward


# Sources. Units: EMFACS (Ekman, Friesen, Hager, FACS Investigator's Guide, 2002, table 10-1:
# prototypes and major variants); which of them people use: Du, Tao, Martinez, PNAS 111, 2014,
# table 1. Contempt, embarrassed, proud as ADFES has them: van der Schalk et al., Emotion 11,
# 2011. Embarrassed: Keltner, J. Personality and Social Psychology 68, 1995 (gaze down, a smile
# held back by pressed or sucked lips, head down and aside). Proud: Tracy, Robins, Emotion 7,
# 2007 (small smile, head back some 20 degrees, chest out). `free`: what a trial saw on real
# faces. The levels were chosen by looking at rendered faces.
RECIPES = (
    Recipe('neutral', 'rest', 1.0, {}),
    Recipe('happy', 'smile, 6+12+25', 0.3, {12: 0.9, 6: 0.7, 25: 0.8, 26: 0.25, 7: 0.15}),
    Recipe('happy', 'closed smile, 6+12+14', 0.2, {12: 0.85, 6: 0.55, 14: 0.25, 7: 0.15}),
    Recipe(
        'happy', 'laugh, 6+7+12+26', 0.2, {12: 1.0, 6: 0.9, 26: 0.85, 25: 1.0, 10: 0.2, 7: 0.4}
    ),
    Recipe(
        'happy',
        'raised brows, 1+2+12+25',
        0.15,
        {12: 1.0, 2: 0.4, 1: 0.4, 6: 0.45, 25: 0.8, 26: 0.35},
        True,
    ),
    Recipe(
        'happy', 'open mouth, 12+16+27', 0.15, {12: 1.0, 27: 0.55, 6: 0.5, 16: 0.35, 25: 0.5}, True
    ),
    Recipe('surprised', 'open mouth, 1+2+5+26', 0.4, {1: 0.9, 2: 0.95, 5: 0.9, 26: 1.0, 27: 0.2}),
    Recipe(
        'surprised', 'round mouth, 1+2+5+22+26', 0.2, {1: 0.9, 2: 0.9, 5: 0.8, 26: 1.0, 22: 0.5}
    ),
    Recipe('surprised', 'lips part, 1+2+5+25', 0.2, {2: 1.0, 1: 1.0, 5: 0.85, 25: 0.4, 26: 0.4}),
    Recipe('surprised', 'brows only, 1+2', 0.2, {2: 1.0, 1: 0.95, 5: 0.25}, True),
    Recipe(
        'angry',
        'pressed lips, 4+5+7+24',
        0.4,
        {4: 1.0, 24: 0.85, 7: 1.0, 9: 0.3, 5: 0.15, 17: 0.15},
        gaze_deg=(0, -4),
        head_deg=(0, 5, 0),
    ),
    Recipe(
        'angry',
        'bared teeth, 4+5+7+10+16+25',
        0.3,
        {4: 1.0, 10: 0.5, 16: 0.6, 25: 0.5, 7: 0.9, 9: 0.4, 5: 0.2, 26: 0.3, 20: 0.2},
        gaze_deg=(0, -3),
        head_deg=(0, 4, 0),
    ),
    Recipe(
        'angry',
        'tight lips and jaw, 4+7+17+23+29',
        0.3,
        {4: 1.0, 23: 1.0, 7: 1.0, 17: 0.35, 29: 0.5, 9: 0.2},
        gaze_deg=(0, -4),
        head_deg=(0, 5, 0),
    ),
    Recipe(
        'disgusted',
        'wrinkled nose, 4+9+10+15',
        0.4,
        {9: 1.0, 10: 0.55, 4: 0.25, 15: 0.4, 17: 0.35, 7: 0.55, 6: 0.3},
        head_deg=(3, -2, 1),
    ),
    Recipe(
        'disgusted',
        'lips shut, 9+10+15+17',
        0.3,
        {9: 0.95, 17: 1.0, 15: 0.6, 10: 0.12, 4: 0.2, 7: 0.5},
        head_deg=(3, -2, 1),
    ),
    Recipe(
        'disgusted',
        'mouth open, 9+10+16+25+26',
        0.3,
        {9: 0.95, 10: 0.6, 26: 0.55, 16: 0.2, 25: 0.3, 15: 0.5, 4: 0.15, 7: 0.7},
        head_deg=(3, -4, 1),
    ),
    Recipe(
        'sad',
        'corners down, 1+4+15+17',
        0.4,
        {1: 1.0, 15: 0.9, 4: 0.25, 17: 0.5},
        gaze_deg=(0, 11),
    ),
    Recipe(
        'sad', 'worried brows, 1+4+15', 0.2, {1: 1.0, 15: 0.7, 4: 0.35, 7: 0.2}, gaze_deg=(4, 7)
    ),
    Recipe(
        'sad',
        'crying, 4+6+7+10+20',
        0.2,
        {4: 0.75, 20: 0.55, 7: 0.8, 6: 0.8, 10: 0.4, 1: 0.75, 15: 0.45, 17: 0.35, 25: 0.3},
        True,
    ),
    Recipe('sad', 'pout, 15+17', 0.2, {17: 0.95, 15: 0.85, 18: 0.15}, True, gaze_deg=(0, 6)),
    Recipe(
        'scared',
        'open mouth, 1+2+4+5+20+26',
        0.4,
        {1: 1.0, 20: 0.8, 5: 1.0, 4: 0.35, 2: 0.55, 25: 0.6, 26: 0.6},
    ),
    Recipe(
        'scared',
        'stretched lips, 1+4+5+20+25',
        0.35,
        {1: 1.0, 20: 1.0, 5: 0.9, 4: 0.4, 2: 0.3, 16: 0.5, 25: 0.4, 26: 0.2},
    ),
    Recipe(
        'scared',
        'gaping, 1+2+4+5+7+20+27',
        0.25,
        {1: 1.0, 5: 1.0, 20: 0.6, 4: 0.35, 2: 0.5, 7: 0.15, 27: 0.7, 25: 0.5},
    ),
    Recipe(
        'contempt',
        'one corner in, 12+14',
        0.5,
        {14: 0.95, 12: 0.35, 7: 0.15},
        one_sided=(12, 14),
        head_deg=(3, -3, 2),
    ),
    Recipe(
        'contempt',
        'one lip up, 10+14',
        0.25,
        {14: 0.8, 10: 0.6, 7: 0.2},
        one_sided=(10, 14),
        head_deg=(4, -3, 1),
    ),
    Recipe(
        'contempt',
        'one brow up, 2+14',
        0.25,
        {14: 0.9, 2: 0.6, 12: 0.25, 17: 0.2},
        one_sided=(2, 12, 14),
        head_deg=(2, -4, 2),
    ),
    Recipe(
        'embarrassed',
        'pressed smile, 12+24+51+54+64',
        0.5,
        {12: 0.6, 24: 0.7, 6: 0.25, 14: 0.2},
        gaze_deg=(7, 18),
        head_deg=(11, 9, 4),
    ),
    Recipe(
        'embarrassed',
        'sucked lips, 12+28+51+54+64',
        0.3,
        {12: 0.5, 28: 0.55, 6: 0.3, 1: 0.25},
        gaze_deg=(9, 17),
        head_deg=(12, 8, 5),
    ),
    Recipe(
        'embarrassed',
        'smile to the floor, 6+12+54+64',
        0.2,
        {12: 0.75, 6: 0.4, 17: 0.35, 15: 0.2, 25: 0.1},
        gaze_deg=(3, 20),
        head_deg=(5, 13, 3),
    ),
    Recipe(
        'proud',
        'small smile, 12+53+57',
        0.6,
        {12: 0.5, 6: 0.2, 24: 0.15},
        gaze_deg=(0, 5),
        head_deg=(0, -13, 0),
        chest_mm=11.0,
    ),
    Recipe(
        'proud',
        'lips shut, chin up, 12+17+53',
        0.4,
        {12: 0.4, 17: 0.3, 24: 0.3, 2: 0.15},
        gaze_deg=(0, 7),
        head_deg=(4, -15, 1),
        chest_mm=13.0,
    ),
)

# What an expression may be mixed with. Source: the compound emotions of Du et al., 2014.
BLENDS = {
    'happy': ('surprised',),
    'surprised': ('happy', 'scared'),
    'angry': ('disgusted', 'sad'),
    'disgusted': ('angry', 'sad'),
    'sad': ('angry', 'scared'),
    'scared': ('surprised', 'sad'),
}
