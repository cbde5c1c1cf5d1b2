from .acoustic import AcousticModel as AcousticModel
from .forecaster import FORECASTERS as FORECASTERS
from .forecaster import AutoregressiveForecaster as AutoregressiveForecaster
from .forecaster import RecurrentForecaster as RecurrentForecaster
from .forecaster import SegmentForecaster as SegmentForecaster
from .sequence_classifier import SequenceClassifier as SequenceClassifier
