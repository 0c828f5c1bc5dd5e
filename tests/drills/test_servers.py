"""Protects: no request breaks the server, and a page of another origin in the user's own browser reads and asks nothing of it."""

import pytest

from tests.drills.drill import FULL, SIZE, drill
from tests.support.fuzzing import fuzz
from tests.support.serving import CHROMIUM, KEY, MODELS, ServerProcess, StandIn, free_port


@pytest.fixture(scope="module")
def standin():
    """The backend of the servers here, which keeps what it was asked."""
    standin = StandIn()
    yield standin
    standin.close()


@pytest.mark.skipif(not SIZE.fuzzed, reason="the short form is tests/serving/test_app.py: no request breaks the server")
@pytest.mark.parametrize("settings", [{}, {"SERVE_API_KEY": KEY}], ids=["without a key", "with a key"])
def test_requests_made_of_the_servers_own_document(settings, standin, tmp_path):
    served = ServerProcess(tmp_path / "log.txt", "--backend", standin.url, **settings)
    try:
        with drill(f"schemathesis: a server {'with' if settings else 'without'} a key") as tally:
            for seed in range(5):
                done = fuzz(served.url, tmp_path, SIZE.fuzzed, seed, KEY if settings else None)
                tally.tried += done.requests
                if done.code != 0:
                    tally.crashed.append(f"seed {seed}: {done.said[-3000:]}")
                if served.taken():
                    tally.lost.append(f"{served.taken()} replies hold a place that nobody waits for")
    finally:
        served.close()


# --- another origin --------------------------------------------------------------------------

# Each deed returns what it could read, or nothing; what it has sent is seen at the backend.
DEEDS = """
async ([url, model]) => {
  const said = {};
  const attempt = async (name, deed) => {
    const late = new Promise(done => setTimeout(() => done(null), 60000));  // none waits so long but on a machine that is slow
    try { said[name] = await Promise.race([deed(), late]) ?? null } catch (error) { said[name] = null }
  };
  const element = (name, attributes) => new Promise(done => {
    const made = document.createElement(name);
    Object.assign(made, attributes, {onload: () => done(made), onerror: () => done(made)});
    document.body.append(made);
  });
  const load = async (name, attributes) => { await element(name, attributes) };
  const chat = url + "/v1/chat/completions", text = response => response.text();
  const body = JSON.stringify({model, messages: [{role: "user", content: "전세란?"}]});
  const generate = JSON.stringify({instruction: "전세란?"});
  for (const path of ["/v1/models", "/health", "/openapi.json", "/"])
    await attempt(`fetch ${path}`, () => fetch(url + path, {credentials: "include"}).then(text));
  const json = {"content-type": "application/json"};
  await attempt("fetch POST", () => fetch(chat, {method: "POST", credentials: "include", headers: json, body}).then(text));
  await attempt("fetch POST as text", () => fetch(chat, {method: "POST", credentials: "include", body}).then(text));
  await attempt("fetch POST no-cors", () => fetch(chat, {method: "POST", mode: "no-cors", credentials: "include", body}).then(text));
  await attempt("fetch POST kept alive", () => fetch(chat, {method: "POST", mode: "no-cors", keepalive: true, body}).then(text));
  await attempt("fetch /generate", () => fetch(url + "/generate", {method: "POST", mode: "no-cors", body: generate}).then(text));
  await attempt("beacon", async () => navigator.sendBeacon(chat, body) && null);
  await attempt("beacon as JSON", async () => navigator.sendBeacon(chat, new Blob([body], {type: "application/json"})) && null);
  await attempt("XMLHttpRequest", () => new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.withCredentials = true;
    request.onload = () => done(request.responseText);
    request.onerror = () => fail();
    request.open("POST", chat);
    request.send(body);
  }));
  await attempt("WebSocket", () => new Promise(done => {
    const socket = new WebSocket(url.replace("http", "ws") + "/ws/socket.io/?EIO=4&transport=websocket");
    socket.onmessage = message => done(`a socket of ${model}: ${message.data}`);
    socket.onerror = () => done(null);
  }));
  await attempt("long polling", () => fetch(url + "/ws/socket.io/?EIO=4&transport=polling", {credentials: "include"})
    .then(async response => response.ok ? `a socket of ${model}: ${await response.text()}` : null));
  await attempt("EventSource", () => new Promise(done => {
    const source = new EventSource(url + "/v1/models", {withCredentials: true});
    source.onmessage = message => done(message.data);
    source.onerror = () => { source.close(); done(null) };
  }));
  await attempt("picture", () => load("img", {src: url + "/v1/models"}));
  await attempt("script", () => load("script", {src: url + "/openapi.json"}));
  await attempt("style sheet", () => load("link", {rel: "stylesheet", href: url + "/v1/models"}));
  await attempt("frame", async () =>
    (await element("iframe", {src: url + "/", name: "framed"})).contentDocument?.documentElement.outerHTML);
  for (const [action, enctype] of [[chat, "text/plain"], [url + "/generate", "application/x-www-form-urlencoded"], [url + "/sign-in", "multipart/form-data"]])
    await attempt(`form to ${action.slice(url.length)}`, async () => {
      const frame = await element("iframe", {name: `answer to ${enctype}`});
      const answered = new Promise(done => frame.onload = done);
      const form = Object.assign(document.createElement("form"), {method: "POST", action, enctype, target: frame.name});
      form.append(Object.assign(document.createElement("input"), {name: body.slice(0, -1) + ', "x": "', value: '"}'}));
      document.body.append(form);
      form.submit();
      await answered;
    });
  return said;
}
"""  # fmt: skip


def pages(served) -> dict[str, tuple[str, str]]:
    """Return, for each kind of page, where it lies and how it calls the server."""
    port = free_port()
    return {
        "another port": (f"http://127.0.0.1:{port}/attack", served.url),
        "another name of this machine": (f"http://localhost:{port}/attack", served.url),
        "another site": ("http://evil.example/attack", served.url),
        "a name that was made to point here": (
            f"http://evil.example:{served.port}/attack",
            f"http://evil.example:{served.port}",
        ),
        "no origin": ("data:text/html,<body>", served.url),
    }


def visit(context, address: str, server: str) -> dict[str, str | None]:
    """Open a page and let it try everything; return what each deed could read of the server."""
    page = context.new_page()
    page.set_default_timeout(300_000)
    if address.startswith("http"):
        page.route(address, lambda route: route.fulfill(content_type="text/html", body="<body></body>"))
    page.goto(address)
    said = page.evaluate(DEEDS, [server, MODELS[0]])
    for frame in page.frames:  # one of another origin cannot be read by the page, and yet be clicked on
        if frame.name == "framed":
            said["a frame's picture"] = frame.evaluate("document.documentElement.outerHTML")
    page.close()
    return {
        name: text if text and any(known in text for known in (*MODELS, "/v1/chat", "chainlit")) else None
        for name, text in said.items()
    }


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt install chromium)")
@pytest.mark.parametrize(
    "key", [None, KEY] if SIZE is FULL else [None], ids=lambda key: "with a key" if key else "without a key"
)
def test_a_page_of_another_origin(key, standin, tmp_path):
    from playwright.sync_api import sync_playwright

    rules = ["--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1",
             "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"]  # fmt: skip
    secret = {"SERVE_API_KEY": key} if key else {}
    served = ServerProcess(tmp_path / "log.txt", "--backend", standin.url, "--votes", tmp_path / "votes.jsonl", **secret)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=rules)
        context = browser.new_context(locale="ko-KR")
        try:
            if key:  # the browser has the cookie that opens the server
                page = context.new_page()
                page.goto(served.url)
                page.get_by_label("서버의 키를").fill(key)
                page.get_by_role("button").click()
                page.wait_for_selector("#chat-input", timeout=300_000)
                page.close()
            with drill(f"a browser's page of another origin, {'with' if key else 'without'} a key") as tally:
                for kind, (address, server) in pages(served).items():
                    before = len(standin.requests)
                    said = visit(context, address, server)
                    tally.tried += len(said)
                    tally.lost += [f"{kind}: {name} could read {text:.100}" for name, text in said.items() if text]
                    tally.lost += [f"{kind}: the model was asked {len(standin.requests) - before} times"] * (
                        len(standin.requests) > before
                    )
                if (tmp_path / "votes.jsonl").exists():
                    tally.lost.append("a vote was cast")
                if "Traceback" in served.said or served.taken():
                    tally.crashed.append(served.said[-2000:])
            before = len(standin.requests)
            own = visit(
                context, f"{served.url}/docs", served.url
            )  # the deeds are such as work: the server's own page does them
            assert own["fetch /v1/models"] and own["fetch POST"] and own["WebSocket"] and len(standin.requests) > before
        finally:
            context.close()
            browser.close()
            served.close()
