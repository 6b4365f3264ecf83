"""Measuring programs that are run by hand; `make test` leaves them alone."""
