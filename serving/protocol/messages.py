"""The messages of TF Serving's published protocol, without TensorFlow.

`tensorflow_serving.apis` holds the same messages, but importing it imports TensorFlow.
Here they are one table, in the notation of a `.proto` file: what a client needs, with the
published field numbers and types, so that the bytes are the same. They live in a package
of their own (`seqzoo.serving`), so that both can be loaded into one process.

Messages and fields that no client of ours reads are left out; protobuf skips them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory

from serving.protocol.notation import Table

PACKAGE = "seqzoo.serving"

ENUMS = {
    "DataType": (
        "DT_INVALID=0 DT_FLOAT=1 DT_DOUBLE=2 DT_INT32=3 DT_UINT8=4 DT_INT16=5 DT_INT8=6 "
        "DT_STRING=7 DT_COMPLEX64=8 DT_INT64=9 DT_BOOL=10 DT_QINT8=11 DT_QUINT8=12 DT_QINT32=13 "
        "DT_BFLOAT16=14 DT_QINT16=15 DT_QUINT16=16 DT_UINT16=17 DT_COMPLEX128=18 DT_HALF=19 "
        "DT_RESOURCE=20 DT_VARIANT=21 DT_UINT32=22 DT_UINT64=23"
    ),
    "Code": (
        "OK=0 CANCELLED=1 UNKNOWN=2 INVALID_ARGUMENT=3 DEADLINE_EXCEEDED=4 NOT_FOUND=5 "
        "ALREADY_EXISTS=6 PERMISSION_DENIED=7 RESOURCE_EXHAUSTED=8 FAILED_PRECONDITION=9 "
        "ABORTED=10 OUT_OF_RANGE=11 UNIMPLEMENTED=12 INTERNAL=13 UNAVAILABLE=14 DATA_LOSS=15 "
        "UNAUTHENTICATED=16"
    ),
    "ModelVersionStatus.State": ("UNKNOWN=0 START=10 LOADING=20 AVAILABLE=30 UNLOADING=40 END=50"),
}

MESSAGES = {
    # tensorflow/core/framework
    "TensorShapeProto": ("repeated TensorShapeProto.Dim dim = 2", "bool unknown_rank = 3"),
    "TensorShapeProto.Dim": ("int64 size = 1", "string name = 2"),
    "TensorProto": (
        "DataType dtype = 1",
        "TensorShapeProto tensor_shape = 2",
        "int32 version_number = 3",
        "bytes tensor_content = 4",
        "repeated float float_val = 5",
        "repeated double double_val = 6",
        "repeated int32 int_val = 7",
        "repeated bytes string_val = 8",
        "repeated float scomplex_val = 9",
        "repeated int64 int64_val = 10",
        "repeated bool bool_val = 11",
        "repeated double dcomplex_val = 12",
        "repeated int32 half_val = 13",
        "repeated uint32 uint32_val = 16",
        "repeated uint64 uint64_val = 17",
    ),
    # tensorflow/core/protobuf/meta_graph.proto
    "TensorInfo": (
        "oneof encoding string name = 1",
        "DataType dtype = 2",
        "TensorShapeProto tensor_shape = 3",
    ),
    "SignatureDef": (
        "map<string, TensorInfo> inputs = 1",
        "map<string, TensorInfo> outputs = 2",
        "string method_name = 3",
        "map<string, TensorProto> defaults = 4",
    ),
    # tensorflow_serving/apis
    "ModelSpec": (
        "string name = 1",
        "oneof version_choice google.protobuf.Int64Value version = 2",
        "string signature_name = 3",
        "oneof version_choice string version_label = 4",
    ),
    "PredictRequest": (
        "ModelSpec model_spec = 1",
        "map<string, TensorProto> inputs = 2",
        "repeated string output_filter = 3",
    ),
    "PredictResponse": ("map<string, TensorProto> outputs = 1", "ModelSpec model_spec = 2"),
    "SignatureDefMap": ("map<string, SignatureDef> signature_def = 1",),
    "GetModelMetadataRequest": ("ModelSpec model_spec = 1", "repeated string metadata_field = 2"),
    "GetModelMetadataResponse": (
        "ModelSpec model_spec = 1",
        "map<string, google.protobuf.Any> metadata = 2",
    ),
    "StatusProto": ("Code error_code = 1", "string error_message = 2"),
    "GetModelStatusRequest": ("ModelSpec model_spec = 1",),
    "ModelVersionStatus": (
        "int64 version = 1",
        "ModelVersionStatus.State state = 2",
        "StatusProto status = 3",
    ),
    "GetModelStatusResponse": ("repeated ModelVersionStatus model_version_status = 1",),
}

FILE = Table(PACKAGE, MESSAGES, ENUMS).declare("seqzoo/serving.proto")


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(FILE.message_types_by_name[name])


DataType = FILE.enum_types_by_name["DataType"]
Code = FILE.enum_types_by_name["Code"]
State = FILE.message_types_by_name["ModelVersionStatus"].enum_types_by_name["State"]
TensorShapeProto = _message("TensorShapeProto")
TensorProto = _message("TensorProto")
TensorInfo = _message("TensorInfo")
SignatureDef = _message("SignatureDef")
ModelSpec = _message("ModelSpec")
PredictRequest = _message("PredictRequest")
PredictResponse = _message("PredictResponse")
SignatureDefMap = _message("SignatureDefMap")
GetModelMetadataRequest = _message("GetModelMetadataRequest")
GetModelMetadataResponse = _message("GetModelMetadataResponse")
GetModelStatusRequest = _message("GetModelStatusRequest")
GetModelStatusResponse = _message("GetModelStatusResponse")

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
HANDLE_RELOAD_CONFIG = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
