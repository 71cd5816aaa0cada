"""From event frames to one settled emotion: bundle, engine, filter."""

from cs3d_ros.inference.bundle import SHIPPED_BUNDLE, Bundle, BundleError, read_bundle
from cs3d_ros.inference.emotion import (
    EXPRESSIONS,
    Emotion,
    EmotionFilter,
    EmotionSettings,
)
from cs3d_ros.inference.engine import EngineError, OnnxRuntimeEngine, open_engine

__all__ = [
    'EXPRESSIONS',
    'SHIPPED_BUNDLE',
    'Bundle',
    'BundleError',
    'Emotion',
    'EmotionFilter',
    'EmotionSettings',
    'EngineError',
    'OnnxRuntimeEngine',
    'open_engine',
    'read_bundle',
]
