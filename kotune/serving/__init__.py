"""Serving: an OpenAI-compatible interface and a chat page on one server.

`app` is the application and its start, `api` its requests and replies, `event_stream` a reply that is sent piece by piece
(server-sent events), `guard` who may come in and how much at once,
`connections` how many connections there are and how the server ends, `desk` the way of every request. `backends` are
what writes replies: `engine` in this process, vLLM (a `child` process), or a server elsewhere. `jobs` are the models that
do one job each, and how they are asked. `page` is the chat page, `profiles` its list of models, `record_table` how it
shows a listing's record, `page_texts` its words in both languages, `page_problems` those on errors, `chainlit_patches`
what Chainlit needs for it, `page/` its settings and style. `class_server` is a blind vote of a class, with no model, and
`class_pages` its pages. `llm` serves a GGUF file by llama.cpp, whose server runs in a
program of its own, `llama_server`.
"""
