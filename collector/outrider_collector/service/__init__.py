"""The gRPC side of the collector, and the only place in it that imports grpc."""
