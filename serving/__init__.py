"""Export to TF Serving, the client, and a server for machines without containers."""
