"""What a search found, for people and for programs.

`write_report` writes a page with every picture into the search folder, and the trials for
TensorBoard; `to_json` and `write_csv` give the same numbers to programs, and `best_config` the
configuration to train again. All of it is computed from a `Search`, so that a search may be
reported while it runs; none of it imports TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
