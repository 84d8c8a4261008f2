"""One step of the pipeline = one module here = one make target of the same name."""
