"""Whether a list of models can be served: the reference's rules, in its words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from serving import errors

PLATFORM = "tensorflow"
"""The one platform that there is."""

TENSORFLOW_TYPE = 1
"""What stood for it before platforms had names."""

_ABSOLUTE = re.compile(r"/|[a-zA-Z][a-zA-Z0-9.]*://")


def check(new: Any, old: Any) -> None:
    """Refuse a configuration that cannot follow another one.

    Args:
        new: A ModelServerConfig message.
        old: The one that it follows; an empty one if there is none.

    Raises:
        FailedPrecondition: It takes away the list of models.
        InvalidArgument: It has a kind that is not supported, a name twice, a path that is not
            absolute, or a platform that is unknown, missing or not the same as before.
    """
    if old.WhichOneof("config") and not new.WhichOneof("config"):
        raise errors.FailedPrecondition(
            "Cannot transition to requested config. It is only legal to transition from one "
            "ModelConfigList to another."
        )
    if new.WhichOneof("config") == "custom_model_config":
        raise errors.InvalidArgument("ModelServer does not yet support custom model config.")
    models = new.model_config_list.config
    _check_names(model.name for model in models)
    for model in models:
        if not _ABSOLUTE.match(model.base_path):
            raise errors.InvalidArgument(
                f"Expected model {model.name} to have an absolute path or URI; got "
                f"base_path()={model.base_path}"
            )
    served = {model.name: platform(model) for model in old.model_config_list.config}
    for model in models:
        _check_platform(model, served.get(model.name))


def _check_names(names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise errors.InvalidArgument(
                f"Illegal to list model {name} multiple times in config list"
            )
        seen.add(name)


def _check_platform(model: Any, before: str | None) -> None:
    wanted = platform(model)
    if before not in (None, wanted):
        raise errors.InvalidArgument(
            f"Illegal to change a model's platform. For model {model.name} platform was {before} "
            f"and new platform requested is {wanted}"
        )
    if wanted != PLATFORM:
        raise errors.InvalidArgument(f"Model {model.name} requests unsupported platform {wanted}")


def platform(model: Any) -> str:
    """Return the platform of a ModelConfig message.

    Raises:
        InvalidArgument: It names none, or two.
    """
    if model.model_type:
        if model.model_platform:
            raise errors.InvalidArgument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and "
                f"ModelServerConfig::model_platform, model name is {model.name}"
            )
        if model.model_type != TENSORFLOW_TYPE:
            raise errors.InvalidArgument(
                f"ModelServerConfig::model_type choice {model.model_type} not supported."
            )
        return PLATFORM
    if not model.model_platform:
        raise errors.InvalidArgument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {model.name}"
        )
    return model.model_platform
