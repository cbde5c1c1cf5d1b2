"""The gRPC services that the reference takes from gRPC itself: health, and beyond it reflection."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.serving.conformance.calls import refused
from tests.serving.conformance.process import Server

SERVING = health_pb2.HealthCheckResponse.SERVING


def health(server: Server, service: str) -> int:
    """Ask how a service is."""
    stub = health_pb2_grpc.HealthStub(server.channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=service)).status


class TestHealth:
    @pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
    def test_is_told_of_the_server_and_its_services(self, first: Server, service: str):
        assert health(first, service) == SERVING

    def test_is_not_found_for_other_services(self, first: Server):
        with refused(grpc.StatusCode.NOT_FOUND):
            health(first, "nobody")

    def test_can_be_watched(self, first: Server):
        stub = health_pb2_grpc.HealthStub(first.channel)
        told = stub.Watch(health_pb2.HealthCheckRequest())
        assert next(told).status == SERVING
        told.cancel()

    def test_is_not_there_unless_flagged(self, second: Server):
        with refused(grpc.StatusCode.UNIMPLEMENTED):
            health(second, "")


@pytest.mark.usefixtures("beyond_reference")
class TestReflection:
    def ask(self, server: Server, **question: str) -> reflection_pb2.ServerReflectionResponse:
        stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
        asked = reflection_pb2.ServerReflectionRequest(**question)
        return next(stub.ServerReflectionInfo(iter([asked])))

    def test_lists_the_services(self, first: Server):
        told = self.ask(first, list_services="").list_services_response.service
        assert {each.name for each in told} >= {
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
            "tensorflow.serving.ModelService",
            "tensorflow.serving.PredictionService",
        }

    def test_describes_them(self, first: Server):
        for symbol in ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
            told = self.ask(first, file_containing_symbol=symbol)
            assert told.file_descriptor_response.file_descriptor_proto
