from .labels import LabelDecoder as LabelDecoder
from .labels import fit_temperature as fit_temperature
