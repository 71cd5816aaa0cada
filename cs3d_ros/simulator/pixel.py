"""The pixel of an event camera: fires when log intensity has moved by a threshold."""

import math
from typing import NamedTuple

import numpy as np

from cs3d_ros.events.batch import EventBatch
from cs3d_ros.simulator import _kernels

MIN_THRESHOLD = 0.01  # natural log; bounds the events of one frame, real thresholds lie above 0.1
LOWEST_CUTOFF_HZ = 0.01  # below, what passes in a microsecond drowns in rounding
BRIGHTEST_DN = 1e4  # highlights above white are light as well; far beyond is no picture any more
MOST_AT_ONCE = 1 << 26  # events that noise and leak may add between two frames: 2 GB of them
_NS = 1e-9


class PixelSettings(NamedTuple):
    """
    What a pixel array is like; the defaults are those of an ideal one.

    ``SETTING_HELP`` explains each field; PixelModel refuses what lies outside of its range.
    """

    on_threshold: float = 0.2  # default of v2e (arXiv 2006.07722); cameras are set to 0.1 to 0.5
    off_threshold: float = 0.2  # the same
    threshold_sigma: float = 0.0  # v2e: 0.02 clean, 0.05 noisy; DAVIS240 0.035 (Brandli 2014)
    cutoff_hz: float = 0.0  # v2e: 30 noisy, 300 by default; kHz in daylight (Lichtsteiner 2008)
    refractory_us: float = 0.0  # v2e's command line: 500
    leak_rate_hz: float = 0.0  # 0.1 at room temperature (Nozaki & Delbruck 2017)
    leak_light_hz: float = 0.0  # parasitic photocurrent (Nozaki & Delbruck 2017)
    leak_spread: float = 0.0  # v2e's noise_rate_cov_decades: 0.1
    shot_noise_hz: float = 0.0  # v2e: 5 in noisy
    shot_noise_half_dn: float = 85.0  # a quarter is left at white, as in v2e
    hot_pixel_share: float = 0.0
    hot_pixel_hz: float = 0.0
    light: float = 1.0
    srgb: bool = False  # as in v2e, which takes display values as light


SETTING_HELP = {
    'on_threshold': ('ln', 'Rise of the natural log intensity that fires ON.'),
    'off_threshold': ('ln', 'Fall of the natural log intensity that fires OFF.'),
    'threshold_sigma': (
        'ln',
        'Standard deviation of both thresholds over the pixels, Gaussian, drawn again below 0.01.',
    ),
    'cutoff_hz': (
        'Hz',
        'Bandwidth of the photoreceptor at white, (DN * light + 20) / 275 of it elsewhere; 0 does '
        'without.',
    ),
    'refractory_us': (
        'us',
        'Time after an event in which the pixel is blind; contrast that comes meanwhile is lost.',
    ),
    'leak_rate_hz': ('Hz', 'ON events per pixel by junction leakage, in any light.'),
    'leak_light_hz': (
        'Hz',
        'ON events per pixel by parasitic photocurrent at white, in proportion to the light.',
    ),
    'leak_spread': (
        'decades',
        'Standard deviation of the log-normal leak rates over the pixels; their mean stays.',
    ),
    'shot_noise_hz': (
        'Hz',
        'Noise events per pixel in the dark, ON and OFF together; fewer in the light, as '
        'half / (half + DN * light).',
    ),
    'shot_noise_half_dn': ('DN', 'Light at which shot noise has fallen to half of its rate.'),
    'hot_pixel_share': ('', 'Share of the pixels that leak so much that they fire by themselves.'),
    'hot_pixel_hz': ('Hz', 'ON events of a hot pixel.'),
    'light': (
        '',
        'Photons per DN, beside those that bandwidth, leak and shot noise are told for.',
    ),
    'srgb': ('', 'Whether frames are display values after IEC 61966-2-1, to be made linear.'),
}

_RANGES = {
    'on_threshold': (MIN_THRESHOLD, 10.0),
    'off_threshold': (MIN_THRESHOLD, 10.0),
    'threshold_sigma': (0.0, 10.0),
    'cutoff_hz': (0.0, 1e6),
    'refractory_us': (0.0, 1e7),
    'leak_rate_hz': (0.0, 1e4),
    'leak_light_hz': (0.0, 1e4),
    'leak_spread': (0.0, 1.0),
    'shot_noise_hz': (0.0, 1e4),
    'shot_noise_half_dn': (1e-3, 1e6),
    'hot_pixel_share': (0.0, 1.0),
    'hot_pixel_hz': (0.0, 1e4),
    'light': (1e-6, 1e3),
}


def dimmed(settings: PixelSettings, light: float) -> PixelSettings:
    """
    Return the same sensor under ``light`` times the photons; the picture keeps its DN.

    Bandwidth and leak by light fall with them, shot noise rises.

    Examples
    --------
    >>> dimmed(PRESETS['davis346'], 0.1).light
    0.1
    """
    return settings._replace(light=settings.light * light)


_DAVIS346 = PixelSettings(
    # Data sheet (iniVation 2019): half of the pixels see +14.3 % and -22.5 %.
    on_threshold=math.log(1.143),
    off_threshold=-math.log(1 - 0.225),
    threshold_sigma=0.035,  # Brandli et al. 2014 (DAVIS240), the same pixel
    cutoff_hz=300.0,  # v2e's default, indoors
    refractory_us=500.0,  # the same
    leak_rate_hz=0.1,  # Nozaki & Delbruck 2017: about 0.1 Hz at room temperature
    leak_light_hz=0.1,  # the same work: grows in proportion to the light
    leak_spread=0.1,  # v2e
    shot_noise_hz=5.0,  # Guo & Delbruck 2022: what dim scenes bring
    shot_noise_half_dn=10.0,  # chosen: a few tenths of a Hz in a lit room
    hot_pixel_share=2e-4,  # chosen: about 20 of 89,960
    hot_pixel_hz=20.0,  # chosen
)

PRESETS = {
    'ideal': PixelSettings(),
    'clean': PixelSettings(threshold_sigma=0.02),  # v2e's preset of this name
    'noisy': PixelSettings(  # v2e's preset of this name
        threshold_sigma=0.05,
        cutoff_hz=30.0,
        leak_rate_hz=0.1,
        leak_spread=0.1,
        shot_noise_hz=5.0,
    ),
    'low_light': dimmed(_DAVIS346, 1 / 30),  # from a lit room to a candle
    'davis346': _DAVIS346,
    'imx636': PixelSettings(
        on_threshold=math.log(1.25),  # nominal contrast of 25 % (Finateu et al. 2020; data sheet)
        off_threshold=-math.log(1 - 0.2),  # the same step downwards
        threshold_sigma=0.03,  # chosen, as of a DAVIS
        cutoff_hz=1600.0,  # latency below 100 us at 1000 lx: 1 / (2 pi 100 us)
        refractory_us=40.0,  # chosen; the bias sets it from microseconds to milliseconds
        leak_rate_hz=0.05,  # chosen: back-illuminated, well shielded
        leak_spread=0.1,
        shot_noise_hz=5.0,  # chosen, as of a DAVIS
        shot_noise_half_dn=2.0,  # chosen: ten times the fill factor of a DAVIS
        hot_pixel_share=1e-4,  # chosen
        hot_pixel_hz=20.0,  # chosen
    ),
}


class PixelModel:
    """
    Event camera in software: frames in, events out, each with its own crossing time.

    Between two frames the log intensity of a pixel runs on a straight line, which the low pass
    then rounds; a pixel fires where its level has moved by a threshold from its reference.
    docs/simulator.md has the equations. State is kept between frames, so what stays below a
    threshold is not lost. The same settings, seed and frames make the same events.

    Parameters
    ----------
    width, height : int
        Size of the frames and the sensor in pixels.
    settings : PixelSettings
    seed : int
        Decides which pixel has which thresholds, and all noise.

    Raises
    ------
    ValueError
        If a setting lies outside of its range.

    Examples
    --------
    >>> pixels = PixelModel(1, 1, PixelSettings(0.2, 0.2))
    >>> len(pixels.push(np.full((1, 1), 100.0), 0))
    0
    >>> pixels.push(np.full((1, 1), 100.0 * np.exp(0.5)), 5_000_000).t.tolist()
    [2000000, 4000000]
    """

    def __init__(
        self,
        width: int,
        height: int,
        settings: PixelSettings = PixelSettings(),
        seed: int = 0,
    ):
        EventBatch.empty(width, height)  # checks the size
        _check(settings)
        self.width, self.height = width, height
        self._settings = settings
        bytes_dn = np.arange(256, dtype=np.float64)
        if settings.srgb:
            bytes_dn = linear_light(bytes_dn)
        seed = int(seed) % 2**64
        self._array = _kernels.PixelArray(width, height, settings, bytes_dn, seed)
        self._time_ns = None

    def reset(self):
        """Forget all; the next frame is a first frame, of a camera made anew from the seed."""
        self._time_ns = None

    def push(self, frame: np.ndarray, t_ns: int) -> EventBatch:
        """
        Return the events between the previous frame and this one; none for the first.

        Parameters
        ----------
        frame : np.ndarray [shape=(height, width), dtype=uint8 or float]
            Intensity in DN, 0 to 255; floats spare the 8-bit steps that make false events, and
            may go above white.
        t_ns : int
            Time of the frame, later than the previous one's.

        Raises
        ------
        ValueError
            If shape or type is another, a value is no intensity, time does not increase, or
            noise would add too many events in so long a time. The state stays as it was.
        """
        t_ns = int(t_ns)
        self._check_time(t_ns)
        self._load(frame)
        before_ns, self._time_ns = self._time_ns, t_ns
        if before_ns is None:
            self._array.begin()
            return EventBatch.empty(self.width, self.height)
        count = self._array.advance(t_ns - before_ns)
        x, y = (np.empty(count, np.uint16) for _ in 'xy')
        t, p = np.empty(count, np.int64), np.empty(count, np.uint8)
        self._array.take(before_ns, x, y, t, p)
        return EventBatch.trusted(x, y, t, p, self.width, self.height)

    def _check_time(self, t_ns):
        if not -(2**62) < t_ns < 2**62:
            raise ValueError('frame time must fit int64 ns, got {}'.format(t_ns))
        if self._time_ns is None:
            return
        if t_ns <= self._time_ns:
            raise ValueError(
                'frame times must increase: {} ns after {} ns'.format(t_ns, self._time_ns)
            )
        span_s = (t_ns - self._time_ns) * _NS
        added = self._array.spontaneous_hz() * span_s
        if added > MOST_AT_ONCE:
            raise ValueError(
                'noise and leak would make {:.2g} events in the {:.6g} s between two frames, at '
                'most {:.2g} are made at once: push frames more often'.format(
                    added, span_s, MOST_AT_ONCE
                )
            )

    def _load(self, frame):
        frame = np.asarray(frame)
        if frame.shape != (self.height, self.width):
            raise ValueError(
                'frame must have shape ({}, {}), got {}'.format(
                    self.height, self.width, frame.shape
                )
            )
        if frame.dtype == np.uint8:
            self._array.load_bytes(np.ascontiguousarray(frame))
            return
        if frame.dtype.kind != 'f':
            raise ValueError(
                'frame must be uint8, or float in DN of 0 to 255, got {}: scale it, '
                'frame / 257.0 for 16 bits'.format(frame.dtype)
            )
        frame = np.ascontiguousarray(frame, np.float64)
        if self._settings.srgb:
            frame = linear_light(frame)
        if not self._array.load_floats(frame, BRIGHTEST_DN):
            found = 'NaN or infinity'
            if np.isfinite(frame).all():
                found = 'values of {:.6g} to {:.6g}'.format(frame.min(), frame.max())
            raise ValueError(
                'frame holds {}: intensities must be 0 to 255 DN, highlights up to {:.0f}'.format(
                    found, BRIGHTEST_DN
                )
            )


def linear_light(frame: np.ndarray) -> np.ndarray:
    """
    Return the linear light, 0 to 255, of display values from 0 to 255.

    Source: IEC 61966-2-1 (sRGB), inverse of the transfer function.
    """
    share = frame / 255.0
    with np.errstate(invalid='ignore'):
        return 255.0 * np.where(
            share <= 0.04045, share / 12.92, ((np.maximum(share, 0.0) + 0.055) / 1.055) ** 2.4
        )


def _check(settings):
    if 0 < settings.cutoff_hz < LOWEST_CUTOFF_HZ:
        raise ValueError(
            'cutoff_hz must be 0, for no low pass, or at least {} Hz, got {}'.format(
                LOWEST_CUTOFF_HZ, settings.cutoff_hz
            )
        )
    for name, (lowest, highest) in _RANGES.items():
        value = getattr(settings, name)
        if not lowest <= value <= highest:
            raise ValueError(
                '{} must be {:g} to {:g}{}, got {}'.format(
                    'contrast thresholds' if name.endswith('_threshold') else name,
                    lowest,
                    highest,
                    ' ' + SETTING_HELP[name][0] if SETTING_HELP[name][0] else '',
                    value,
                )
            )
