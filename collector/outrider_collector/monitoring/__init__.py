"""What others may ask a collector over HTTP: whether it lives, whether it is ready, its figures."""
