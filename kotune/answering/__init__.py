"""Answering: files of questions in batches (`batch`), through transformers or vLLM (`engines`), into files that resume."""
