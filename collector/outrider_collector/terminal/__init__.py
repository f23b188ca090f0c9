"""What a terminal shows of the store: `outrider logs`, `status` and `workers`; shared parts."""
