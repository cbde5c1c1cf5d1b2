from .speech import frequent_words as frequent_words
from .speech import nearest_centroid as nearest_centroid
from .text import majority as majority
from .text import nb_svm as nb_svm
