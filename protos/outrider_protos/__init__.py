"""Messages and services of the wire; see protos/README.md."""
