"""Between the wire and the store: decoding, sessions, credit, the one committer."""
