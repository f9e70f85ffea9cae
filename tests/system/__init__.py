"""Tests that need what a fresh machine lacks: a compiler, strace, a file system of their own.  They run in `make test-long`."""
