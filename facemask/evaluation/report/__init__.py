"""An evaluation as pages: tables, charts and mistakes."""
