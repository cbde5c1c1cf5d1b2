from .acoustic import AcousticModel as AcousticModel
from .sequence_classifier import SequenceClassifier as SequenceClassifier
