"""Lists of models, as a server is configured with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig


def model_config(base_paths: Mapping[str, Path], more: str = "") -> Any:
    """Return a ModelServerConfig message of models by name, each with more settings as text."""
    entries = (
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" {more} }}'
        for name, path in base_paths.items()
    )
    return text_format.Parse(f"model_config_list {{ {' '.join(entries)} }}", ModelServerConfig())
