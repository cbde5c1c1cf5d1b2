"""A label changes in the text of a configuration; everything else stays as it was typed."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.config_text import with_label

COMMENTED = """\
# What we serve. Ask Ada before you touch "canary".
model_config_list {
  config {
    name: "sentiment"  # the old one { is still there
    base_path: "/models/{sentiment}"
    model_version_policy { all {} }
    version_labels { key: "stable" value: 1 }  # since May
    version_labels {
      key: "canary"
      value: 2
    }
  }
  config { name: 'other' base_path: "/models/other" }
}
"""


def parsed(text: str) -> model_server_config_pb2.ModelServerConfig:
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


def labels(text: str, model: str) -> dict[str, int]:
    """Return the labels of a model, as protobuf reads them."""
    (config,) = (c for c in parsed(text).model_config_list.config if c.name == model)
    return dict(config.version_labels)


@pytest.mark.parametrize(
    ("label", "old", "new"),
    [
        ("stable", 'key: "stable" value: 1 }', 'key: "stable" value: 7 }'),
        ("canary", "      value: 2\n", "      value: 7\n"),
    ],
)
def test_only_the_number_changes(label: str, old: str, new: str) -> None:
    assert with_label(COMMENTED, "sentiment", label, 7) == COMMENTED.replace(old, new)


def test_a_new_label_stands_behind_the_others() -> None:
    text = with_label(COMMENTED, "sentiment", "next", 3)
    assert text is not None
    assert labels(text, "sentiment") == {"stable": 1, "canary": 2, "next": 3}
    added = '    version_labels { key: "next" value: 3 }\n'
    assert text.replace(added, "") == COMMENTED


def test_a_first_label_stands_behind_the_name() -> None:
    text = with_label(COMMENTED, "other", "stable", 3)
    assert text is not None
    assert labels(text, "other") == {"stable": 3}
    assert labels(text, "sentiment") == {"stable": 1, "canary": 2}
    alone = 'model_config_list {\n  config {\n    name: "a",  # first\n    base_path: "b"\n  }\n}\n'
    text = with_label(alone, "a", "stable", 1)
    assert text is not None and labels(text, "a") == {"stable": 1}
    assert text.splitlines()[2:4] == [
        '    name: "a",  # first',
        '    version_labels { key: "stable" value: 1 }',
    ]


@pytest.mark.parametrize(
    "text",
    [
        'model_config_list: { config: { name: "a" version_labels: { key: "l" value: 1 } } }',
        'model_config_list < config < name: "a" version_labels < value: 1 key: "l" > > >',
        "model_config_list{config{name:'a' version_labels{key:'l' value:1}}}",
        'model_config_list { config { name: "a" version_labels { key: "l" value: 9 } '
        'version_labels { key: "l" value: 1 } } }',
    ],
)
def test_the_same_message_in_other_words(text: str) -> None:
    changed = with_label(text, "a", "l", 5)
    assert changed is not None
    assert labels(changed, "a") == {"l": 5}


@pytest.mark.parametrize("text", ["", "}}}", '"', 'config { name: "a" }', "model_config_list {"])
def test_what_is_not_understood_is_left_to_the_caller(text: str) -> None:
    assert with_label(text, "a", "l", 5) is None
