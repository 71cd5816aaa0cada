"""What the rendered world is made of: its parts that can be left out, and its conditions."""

from dataclasses import dataclass, fields

from cs3d_ros.inference.emotion import EXPRESSIONS

# What rendered people act: the seven classes of the networks, then what ADFES has besides them
# (van der Schalk et al., Emotion 11, 2011).
ACTED = EXPRESSIONS + ('contempt', 'embarrassed', 'proud')


@dataclass(frozen=True)
class Ingredients:
    """What makes the rendered world like the real one; each is left out to measure its effect."""

    skin_texture: bool = True  # else a skin of one tone, without brows' hairs and pores
    furrows: bool = True
    ambient_occlusion: bool = True
    cast_shadows: bool = True
    soft_eyes: bool = (
        True  # eyes shaded by lids and lashes, so that they do not outshine the mouth
    )
    head_habits: bool = True  # dips, nods and poses that come with onsets and offsets
    timed_blinks: bool = True  # blinks that come with onsets and offsets
    free_recipes: bool = True  # crying, pout, brows-only surprise, open and brow-raising smiles
    mouth_play: bool = True  # sideways, puckered, chewing, talking after a smile
    hands: bool = True
    fringe: bool = True
    spectacles: bool = True
    headwear: bool = True  # caps and head scarves
    beards: bool = True
    cut_in: bool = True  # clips that start in the middle of an expression
    long_holds: bool = True
    moving_lights: bool = True
    moving_background: bool = True
    camera_shake: bool = True

    def without(self, *names: str) -> 'Ingredients':
        """
        Return the same world without some of its parts.

        Raises
        ------
        ValueError
            If there is no ingredient of that name.
        """
        known = [field.name for field in fields(self)]
        for name in names:
            if name not in known:
                raise ValueError(
                    'there is no ingredient {!r}: choose of {}'.format(name, ', '.join(known))
                )
        return Ingredients(**{**self.__dict__, **dict.fromkeys(names, False)})


@dataclass(frozen=True)
class Condition:
    """How a clip is watched; the named ones are the test conditions of the data set."""

    name: str
    presets: tuple = ('clean', 'noisy', 'davis346', 'imx636')  # of the pixel model, drawn evenly
    light: float = 1.0  # of a well lit room; photons, bandwidth and noise follow
    face_px: tuple = (95.0, 230.0)  # side of the face square in a picture 256 px high
    pose_deg: tuple = (8.0, 5.0, 3.5)  # deviation of yaw, pitch, roll at rest
    micro: bool = False  # expressions of less than 0.5 s and low intensity
    occlusion: bool = False  # something always hides a part of the face


CONDITIONS = {
    condition.name: condition
    for condition in (
        Condition('standard'),
        Condition('low_light_1', ('low_light',), light=0.3),
        Condition('low_light_2', ('low_light',), light=0.1),
        Condition('low_light_3', ('low_light',), light=0.03),
        Condition('noise', ('noisy',)),
        Condition('pose', pose_deg=(22.0, 12.0, 10.0)),
        Condition('distance', face_px=(45.0, 95.0)),
        Condition('micro', micro=True),
        Condition('occlusion', occlusion=True),
    )
}
