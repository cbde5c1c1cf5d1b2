"""One module per task, from raw data to an exported model: `python -m recipes`."""
