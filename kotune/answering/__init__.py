"""Answering: files of questions in batches, into files that resume.

`batch` answers a data set or one question, `engines` run the model (transformers, or vLLM), `answer_files` hold the
answers line by line and put two files side by side for judging, and `workbook` reads a hospital's sheet and writes
one with the answers.
"""
