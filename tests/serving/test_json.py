"""JSON to tensors and back, without a server: values, and the reference's messages."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from serving.errors import InvalidArgument, Unimplemented
from serving.server import json_answers, json_requests
from serving.values import TensorSpec

FLOAT = {"x": TensorSpec.of("float32", None)}
TEXT = {"s": TensorSpec.of("object", None)}
BOTH = {"x": TensorSpec.of("float32", None), "s": TensorSpec.of("object", None)}


def read(body: str | bytes, specs: dict[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Return the tensors of a request."""
    document = json_requests.document(body.encode() if isinstance(body, str) else body)
    return json_requests.read_inputs(document, specs, "serving_default")[0]


def test_rows_of_one_tensor() -> None:
    array = read('{"instances": [1, 2.5, NaN, -Infinity, 1e300]}', FLOAT)["x"]
    np.testing.assert_array_equal(array, np.float32([1, 2.5, np.nan, -np.inf, np.inf]))
    assert read('{"instances": [[[1, 2]], [[3, 4]]]}', FLOAT)["x"].shape == (2, 1, 2)
    assert read('{"instances": [{"x": 1}, {"x": 2}]}', FLOAT)["x"].tolist() == [1, 2]


def test_rows_of_several_tensors() -> None:
    arrays = read('{"instances": [{"x": [1], "s": "a"}, {"x": [2], "s": {"b64": "/w=="}}]}', BOTH)
    assert arrays["x"].tolist() == [[1], [2]] and arrays["s"].tolist() == [b"a", b"\xff"]


def test_columns() -> None:
    assert read('{"inputs": 1}', FLOAT)["x"].shape == ()
    assert read('{"inputs": []}', FLOAT)["x"].shape == (0,)
    assert read('{"inputs": {"x": [[1], [2]]}}', FLOAT)["x"].tolist() == [[1], [2]]
    assert read('{"inputs": {"b64": "YQ"}}', TEXT)["s"].tolist() == b"a"
    assert read('{"inputs": {"x": [1], "s": ["a"], "other": 1}}', BOTH)["s"].tolist() == [b"a"]


def test_text_is_passed_on_byte_by_byte() -> None:
    assert read(b'{"instances": ["\xff\\u00e9", "\xf0\x9f\x98\x80", "\\ud83d\\ude00"]}', TEXT)[
        "s"
    ].tolist() == [b"\xff\xc3\xa9", "😀".encode(), "😀".encode()]


def test_integers_beyond_double_precision() -> None:
    specs = {"n": TensorSpec.of("int64", None)}
    values = [2**53 + 1, -(2**63), 2**63 - 1]
    assert read(json.dumps({"instances": values}), specs)["n"].tolist() == values
    specs = {"n": TensorSpec.of("uint64", None)}
    assert read('{"inputs": [18446744073709551615]}', specs)["n"].tolist() == [2**64 - 1]


def test_narrow_integers_keep_their_lower_bits() -> None:
    specs = {"n": TensorSpec.of("uint8", None)}
    assert read('{"inputs": [300, -1]}', specs)["n"].tolist() == [44, 255]


def test_what_follows_the_document_is_not_looked_at() -> None:
    assert read(' {"instances": [1]}}X', FLOAT)["x"].tolist() == [1]


@pytest.mark.parametrize(
    ("body", "specs", "message"),
    [
        ("", FLOAT, "JSON Parse error: The document is empty"),
        ("x", FLOAT, "JSON Parse error: Invalid value. at offset: 0"),
        ('{"instances": }', FLOAT, "JSON Parse error: Invalid value. at offset: 14"),
        ("[1, 2]", FLOAT, "JSON Value: [1, 2] Is not object"),
        ("{}", FLOAT, "Missing 'inputs' or 'instances' key"),
        (
            '{"inputs": 1, "instances": [1]}',
            FLOAT,
            'JSON Value: {\n    "inputs": 1,\n    "instances": [1]\n} Not formatted correctly '
            "expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        (
            '{"instances": 1}',
            FLOAT,
            "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array",
        ),
        (
            '{"instances": []}',
            FLOAT,
            "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
        ),
        (
            '{"instances": [1]}',
            BOTH,
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        (
            '{"inputs": [1]}',
            BOTH,
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        ('{"inputs": {"x": 1}}', BOTH, "Missing named input: s in 'inputs' object."),
        (
            '{"instances": [{"x": 1}, 2]}',
            FLOAT,
            "Expecting object but got list at item 1 of input list",
        ),
        (
            '{"instances": [1, {"x": 1}]}',
            FLOAT,
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            '{"instances": [{"y": 1}]}',
            FLOAT,
            "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: y",
        ),
        (
            '{"instances": [{"x": 1}]}',
            BOTH,
            "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"x\": 1\n} "
            "keys must be equal to: s,x",
        ),
        (
            '{"instances": [1, "a"]}',
            FLOAT,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON "
            'Value: "a" Type: String is not of expected type: float',
        ),
        (
            '{"instances": [[1, 2], [1]]}',
            FLOAT,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 2 but got: 1",
        ),
        (
            '{"instances": [[1, 2], [[1, 2]]]}',
            FLOAT,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [2] but got: [1,2]",
        ),
        (
            '{"inputs": [[1, 2], [3]]}',
            FLOAT,
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        ('{"inputs": [1, [2]]}', FLOAT, "Encountered list at unexpected level: 1 expected < 1"),
        (
            '{"inputs": [[1], 2]}',
            FLOAT,
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        (
            '{"inputs": [true]}',
            FLOAT,
            "JSON Value: true Type: True is not of expected type: float",
        ),
        ('{"inputs": [null]}', TEXT, "JSON Value: null Type: Null is not of expected type: string"),
        (
            '{"inputs": [{"b64": 1}]}',
            TEXT,
            'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data',
        ),
        ('{"inputs": [{"b64": "?"}]}', TEXT, "Unable to base64 decode"),
        (
            '{"inputs": [2.0]}',
            {"n": TensorSpec.of("int32", None)},
            "JSON Value: 2.0 Type: Number is not of expected type: int32",
        ),
        (
            '{"inputs": [4294967296]}',
            {"n": TensorSpec.of("int32", None)},
            "JSON Value: 4294967296 Type: Number is not of expected type: int32",
        ),
        (
            '{"inputs": ["\\ud800"]}',
            TEXT,
            "JSON Parse error: The surrogate pair in string is invalid.",
        ),
        ("{}", {}, "Failed to get input map for signature: serving_default"),
    ],
)
def test_the_references_messages(body: str, specs: dict[str, TensorSpec], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read(body, specs)
    assert str(caught.value) == message


def test_hostile_documents_are_refused() -> None:
    for body in ("[" * 100_000, '{"inputs": ' + "9" * 10_000 + "}"):
        with pytest.raises(InvalidArgument, match="JSON Parse error"):
            read(body, FLOAT)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"inputs": ' + "[" * 65 + "1" + "]" * 65 + "}", "list at unexpected level: 64"),
        ('{"inputs": [' + "9" * 400 + "]}", "Number too big to be stored in double"),
        ('{"instances": [' + "9" * 400 + "]}", "Number too big to be stored in double"),
    ],
)
def test_what_no_array_holds_is_refused(body: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        read(body, FLOAT)


def test_a_mark_before_the_document_and_white_space_in_base64_do_not_count() -> None:
    packed = base64.encodebytes(b"x" * 100).decode()
    assert "\n" in packed.strip()
    body = "\ufeff" + json.dumps({"inputs": [{"b64": packed}]})
    assert read(body, TEXT)["s"].tolist() == [b"x" * 100]


def test_shown_values_are_short() -> None:
    with pytest.raises(InvalidArgument) as caught:
        read(json.dumps(list(range(100_000))), FLOAT)
    assert len(str(caught.value)) < 300


def test_signature_names() -> None:
    assert json_requests.signature_name({"signature_name": "half"}) == "half"
    assert json_requests.signature_name({}) == ""
    with pytest.raises(InvalidArgument, match="'signature_name' key must be a string value"):
        json_requests.signature_name({"signature_name": 1})


def test_types_that_json_has_no_place_for() -> None:
    with pytest.raises(Unimplemented, match="Conversion of JSON Value: 1 to type: half"):
        read('{"inputs": [1]}', {"x": TensorSpec.of("float16", None)})
    with pytest.raises(InvalidArgument, match="Failed to write JSON value for tensor type: half"):
        json_answers.write_columns({"y": np.zeros(2, np.float16)})


def test_answers_by_row() -> None:
    one = json_answers.write_rows({"y": np.float32([[1, 2], [3, 4]])})
    assert json.loads(one) == {"predictions": [[1.0, 2.0], [3.0, 4.0]]}
    several = json_answers.write_rows(
        {"a_bytes": np.array([b"\xff", b""], object), "y": np.array([True, False])}
    )
    assert json.loads(several) == {
        "predictions": [
            {"a_bytes": {"b64": "/w=="}, "y": True},
            {"a_bytes": {"b64": ""}, "y": False},
        ]
    }
    assert json.loads(json_answers.write_rows({"y": np.zeros((0, 2))})) == {"predictions": []}


def test_answers_by_column() -> None:
    assert json.loads(json_answers.write_columns({"y": np.int64([2**53 + 1])})) == {
        "outputs": [2**53 + 1]
    }
    several = {"a": np.array("é".encode(), object), "b": np.zeros((2, 0), np.uint8)}
    assert json.loads(json_answers.write_columns(several)) == {"outputs": {"a": "é", "b": [[], []]}}


def test_numbers_are_written_as_short_as_they_are_exact() -> None:
    values = np.float32([0.2, 9, 9e6, 3e-5, 1 / 3, np.nan, -np.inf, 16777217])
    text = json_answers.write_columns({"y": values})
    assert "[0.2, 9.0, 9e+06, 3e-05, 0.333333343, NaN, -Infinity, 16777216.0]" in text
    assert "[0.10000000000000001, 0.5]" not in json_answers.write_columns(
        {"y": np.array([0.1, 0.5])}
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_written_numbers_read_back_bit_for_bit(dtype: type) -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(dtype)
    answer = json.loads(json_answers.write_columns({"y": values}))["outputs"]
    np.testing.assert_array_equal(np.array(answer, dtype), values)


def test_rows_need_a_common_number() -> None:
    with pytest.raises(InvalidArgument, match="Tensor name: y has no shape information "):
        json_answers.write_rows({"y": np.float32(1)})
    with pytest.raises(InvalidArgument, match="y has inconsistent batch size: 1 expecting: 2"):
        json_answers.write_rows({"x": np.zeros(2), "y": np.zeros(1)})
