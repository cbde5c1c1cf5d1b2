"""What needs no neural network, and has to be beaten: measured in the same run, on the same rows.

Each gives a record for `metrics.json`, under the name of the method.
"""

from recipes.baselines.speech import frequent_words, nearest_centroid
from recipes.baselines.text import majority, nb_svm

__all__ = ["frequent_words", "majority", "nb_svm", "nearest_centroid"]
