"""Labels in the formats of other tools, one file a format; `format_table` lists them."""
