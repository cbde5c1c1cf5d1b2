from .batching import Batch as Batch
from .batching import BucketedBatches as BucketedBatches
from .batching import padded_lengths as padded_lengths
from .targets import character_targets as character_targets
from .targets import class_targets as class_targets
from .text import TextEncoder as TextEncoder
from .text import learn_vocabulary as learn_vocabulary
