"""The runtimes of exported classifiers: one module each, which imports only its own runtime."""
