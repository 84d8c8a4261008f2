"""One thin file a step: `python -m scripts.<step>`, which `make <step>` runs."""
