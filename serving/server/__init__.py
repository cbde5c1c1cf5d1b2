"""A model server for machines without containers: TF Serving's protocol, flags and messages.

`python -m serving.server --model_name=NAME --model_base_path=DIR` runs it; `launch` runs it
for the length of a `with` block.
"""

from serving.server.launcher import RunningServer, launch

__all__ = ["RunningServer", "launch"]
