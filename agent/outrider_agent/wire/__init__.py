"""The wire: the only package of the agent that speaks gRPC."""
