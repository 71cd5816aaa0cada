"""From event frames to one settled emotion: bundle, engine, estimator, filter."""

from cs3d_ros.inference.bundle import SHIPPED_BUNDLE, Bundle, BundleError, read_bundle
from cs3d_ros.inference.emotion import (
    EXPRESSIONS,
    Emotion,
    EmotionFilter,
    EmotionSettings,
)
from cs3d_ros.inference.engine import EngineError, OnnxRuntimeEngine, open_engine
from cs3d_ros.inference.estimator import make_estimator

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
    'make_estimator',
    'open_engine',
    'read_bundle',
]
