"""TF Serving's published protocol without TensorFlow: messages, method paths, tensors."""

from serving.protocol import messages
from serving.protocol.tensors import data_type, from_proto, numpy_dtype, to_proto, type_name

__all__ = ["data_type", "from_proto", "messages", "numpy_dtype", "to_proto", "type_name"]
