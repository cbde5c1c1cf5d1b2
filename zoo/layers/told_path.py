"""Layers whose `path` tells how they run."""

from __future__ import annotations

from typing import Any

from keras.dtype_policies import DTypePolicyMap


class ToldPath:
    """Comes before a layer of Keras, which has the name `path` for its place in a model.

    Keras looks a layer's dtype up under that name where a model has a `DTypePolicyMap`; here it
    does so under the place as before.
    """

    _dtype_policy: Any
    _path: str | None

    @property
    def compute_dtype(self) -> str:
        """The dtype that the layer computes in."""
        return self._own_policy().compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype of the layer's weights."""
        return self._own_policy().variable_dtype

    @property
    def quantization_mode(self) -> str | None:
        """How the layer is quantized, None if it is not."""
        return self._own_policy().quantization_mode

    def _own_policy(self) -> Any:
        policy = self._dtype_policy
        by_place = isinstance(policy, DTypePolicyMap) and self._path
        return policy[self._path] if by_place else policy
