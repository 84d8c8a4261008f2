"""The page and the HTTP API: requests in, answers out, within limits."""
