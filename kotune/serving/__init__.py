"""Serving: an OpenAI-compatible interface and a chat page on one server; `app` puts both together."""
