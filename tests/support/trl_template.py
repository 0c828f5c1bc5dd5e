"""What makes TRL train on the same tokens as the course."""


def without_last_newline(chat_template: str) -> str:
    """Return Gemma's template without the newline after the last turn, so that TRL trains on the same tokens.

    TRL counts it to the completion; the course ends a completion with the end of the turn, which is where a reply ends.
    """
    written = "+ '<end_of_turn>\n' }}"
    before, found, after = chat_template.rpartition(written)
    if not found:
        raise ValueError("the template does not write Gemma's turns")
    return f"{before}+ '<end_of_turn>' + ('' if loop.last else '\n') }}}}{after}"
