"""What a terminal shows of the store: `outrider logs`, `status`, `workers` and `doctor`."""
