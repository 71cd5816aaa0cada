"""People: who they are and what they have on, drawn once for all of their clips."""

from dataclasses import dataclass, replace

import numpy as np

from training.data.rendering.faces import IDENTITY_SIGMA, FaceModel
from training.data.world import Ingredients

HEADWEAR = ('none', 'cap', 'beanie', 'headscarf')
HEADWEAR_SHARES = {False: (0.8, 0.06, 0.06, 0.08), True: (0.82, 0.1, 0.08, 0.0)}  # male last
OCCLUDERS = ('face_scarf', 'sunglasses', 'hair')  # hands come with the performance


@dataclass(frozen=True)
class Look:
    """One person: everything that stays the same from clip to clip."""

    identity: str
    skin: str
    coefficients: np.ndarray  # (100,) standard deviations
    brow: str
    brow_width: float  # widening of the brow texture, texels
    brow_albedo: float
    iris: str
    sclera: float  # albedo
    skin_gain: float
    lips: tuple  # albedo of the upper and lower lip against the skin's paint
    hair_mm: float
    hair_albedo: float
    hairline_mm: float  # lower is positive
    long_hair: bool
    fringe: float  # 0..1 of its locks
    fringe_mm: float  # how far it falls over the forehead
    fringe_sweep: float  # mm to the side
    beard: float  # 0..1
    spectacles: float  # thickness of the frame, mm; 0 = none
    lens: float  # opacity of the lenses
    headwear: str  # out of HEADWEAR
    face_scarf: bool  # over nose or mouth
    wrinkles: float  # depth of the furrows, 0..1
    seed: int

    def of(self, ingredients: Ingredients) -> 'Look':
        """Return the same person without what is left out of the world."""
        left_out = {}
        if not ingredients.fringe:
            left_out['fringe'] = 0.0
        if not ingredients.spectacles:
            left_out['spectacles'] = 0.0
        if not ingredients.headwear:
            left_out.update(headwear='none', face_scarf=False)
        if not ingredients.beards:
            left_out['beard'] = 0.0
        return replace(self, **left_out)

    def occluded(self, by: str) -> 'Look':
        """Return the same person with a part of the face hidden by one of OCCLUDERS."""
        if by == 'face_scarf':
            return replace(self, face_scarf=True)
        if by == 'sunglasses':
            return replace(self, spectacles=max(self.spectacles, 1.5), lens=0.9)
        return replace(
            self, fringe=1.0, fringe_mm=95.0, fringe_sweep=np.copysign(45.0, self.fringe_sweep),
            headwear='none',
        )  # fmt: skip


def draw_look(identity: str, skins: tuple, model: FaceModel, rng: np.random.Generator) -> Look:
    """Return a person with a skin out of `skins`."""
    assets = model.assets
    skin = str(rng.choice(skins))
    male = 'female' not in skin
    dark, old = 'darkskinned' in skin, 'old' in skin
    # The lips' redness is lost in grey. On dark skins the upper lip is the darker one, the lower
    # often paler than the skin; the light skins are painted with lips that are dark enough.
    lips = (rng.uniform(0.6, 0.9), rng.uniform(0.85, 1.3)) if dark else rng.uniform(0.7, 1.0, 2)
    hair = np.exp(rng.uniform(np.log(0.008), np.log(0.03 if dark else (0.3 if old else 0.16))))
    return Look(
        identity=identity,
        skin=skin,
        coefficients=rng.normal(0.0, IDENTITY_SIGMA, 100),
        brow=str(rng.choice(assets.brows)),
        brow_width=float(rng.uniform(0.0, 3.5 + male)),
        brow_albedo=float(rng.uniform(0.008, 0.03 if dark else 0.12)),
        iris=str(rng.choice(assets.irises)),
        sclera=float(rng.uniform(0.26, 0.42)),
        skin_gain=float(rng.uniform(0.8, 1.15)),
        lips=tuple(float(v) for v in lips),
        hair_mm=float(rng.uniform(2.0, 22.0)),
        hair_albedo=float(hair),
        hairline_mm=float(rng.normal(0.0, 5.0)),
        long_hair=bool(rng.random() < (0.12 if male else 0.65)),
        fringe=float(rng.random() < (0.2 if male else 0.4)) * float(rng.uniform(0.25, 1.0)),
        fringe_mm=float(rng.uniform(18.0, 62.0)),
        fringe_sweep=float(rng.normal(0.0, 22.0)),
        beard=float(male and rng.random() < 0.4) * float(rng.uniform(0.2, 0.85)),
        spectacles=float(rng.random() < 0.22) * float(rng.uniform(1.0, 3.2)),
        lens=float(rng.uniform(0.02, 0.12) if rng.random() < 0.93 else rng.uniform(0.4, 0.9)),
        headwear=str(rng.choice(HEADWEAR, p=HEADWEAR_SHARES[male])),
        face_scarf=bool(rng.random() < 0.02),
        wrinkles=float(rng.uniform(0.7, 1.0) if old else rng.uniform(0.25, 0.85)),
        seed=int(rng.integers(1 << 31)),
    )
