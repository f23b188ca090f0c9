"""Ways to tell somebody: one module a channel, each behind the same small protocol."""
