"""What ngrokd and ngrokc must agree on: pure code (no trio, socket, ssl, clock, file or log) plus `link`, its IO half."""
