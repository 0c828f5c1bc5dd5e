"""An OpenAI-compatible server on loopback, and the chat completions that it sends."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Endpoint:
    """An OpenAI-compatible server on loopback that answers from a function and keeps what it was asked.

    `answer(body)` returns (status, JSON) or (status, JSON, headers), where a text is sent as plain text, or a function of
    the request handler that writes to the wire itself, as a server does that breaks in the middle.
    """

    def __init__(self, answer):
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # connections are kept open, as a real endpoint does

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append({"body": body, "authorization": self.headers.get("Authorization")})
                result = answer(body)
                if callable(result):
                    result(self)
                    return
                status, reply, *headers = result
                is_text = isinstance(reply, str)
                payload = (reply if is_text else json.dumps(reply)).encode()
                self.send_response(status)
                for name, value in headers[0].items() if headers else ():
                    self.send_header(name, value)
                self.send_header("Content-Type", "text/plain; charset=utf-8" if is_text else "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *arguments):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def chat_completion(content, finish_reason="stop", refusal=None, usage=None):
    """Return the JSON of a chat completion, as an endpoint sends it; usage is (prompt, completion) tokens."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "finish_reason": finish_reason, "message": message}
    completion = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    if usage:
        prompt, reply = usage
        completion["usage"] = {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}
    return completion
