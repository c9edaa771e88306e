"""Signing in with the Hub, against a stand-in of it: one person is one voter, and no account can be forged."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import gradio.oauth
import httpx
import itsdangerous
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from playground.service import Playground
from playground.settings import Settings
from playground.ui.page import serve
from tests.endurance import Refused, call

# Gradio watches a Space's files, for which it wants a package that the Hub brings.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
KEY = RSAKey.generate_key(parameters={"kid": "1"})
CLIENT, SECRET, SPACE = "the-space", "a secret that the Hub gives", "someone-playground.hf.space"
LATE = int(time.time()) + 3600


class Hub(BaseHTTPRequestHandler):
    """What the Hub answers while somebody signs in; `claims` is who that is."""

    claims: dict = {}

    def do_GET(self):
        if self.path.startswith("/spaces"):
            return self._tell(f'<!doctype html><iframe src="{urlsplit(self.path).query}" width=1200 height=860>')
        here = f"http://127.0.0.1:{self.server.server_port}"
        known = {
            "/.well-known/openid-configuration": {
                "issuer": here,
                "authorization_endpoint": f"{here}/oauth/authorize",
                "token_endpoint": f"{here}/oauth/token",
                "jwks_uri": f"{here}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
            },
            "/keys": {"keys": [KEY.as_dict(private=False)]},
        }
        return self._tell(json.dumps(known[self.path]), "application/json")

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        here = f"http://127.0.0.1:{self.server.server_port}"
        claims = {"iss": here, "aud": CLIENT, "exp": LATE, "iat": int(time.time())} | self.claims
        token = jwt.encode({"alg": "RS256", "kid": "1"}, claims, KEY)
        told = {"access_token": "t", "token_type": "bearer", "expires_in": 3600, "id_token": token}
        self._tell(json.dumps(told), "application/json")

    def _tell(self, what, kind="text/html"):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.end_headers()
        self.wfile.write(what.encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def space(tiny_catalogue):
    """A server as it runs on a Space that offers login."""
    hub = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    told = {
        "OAUTH_CLIENT_ID": CLIENT,
        "OAUTH_CLIENT_SECRET": SECRET,
        "OAUTH_SCOPES": "openid profile",
        "OPENID_PROVIDER_URL": f"http://127.0.0.1:{hub.server_port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
            patch.setattr(gradio.oauth, name, value)
        for name, value in {"SYSTEM": "spaces", "SPACE_ID": "someone/playground", "SPACE_HOST": SPACE}.items():
            patch.setenv(name, value)
        settings = {"database": ":memory:", "precision": "fp32", "frames": (told["OPENID_PROVIDER_URL"],)}
        playground = Playground(Settings(catalogue=tiny_catalogue, **settings))
        page, address = serve(port=None, playground=playground, block=False)
        yield playground, address.rstrip("/")
        page.close()
        playground.close()
        hub.shutdown()


@pytest.fixture
def client(space):
    with httpx.Client(base_url=space[1], headers={"host": SPACE}, timeout=60) as client:
        yield client


def signed_in(sub, secret=SECRET, until=LATE):
    """The cookie of somebody who is signed in: as Gradio signs it, if it is with the Hub's secret."""
    person = {"sub": sub, "name": "N", "preferred_username": "zoe-of-the-hub", "profile": "", "picture": ""}
    session = {"oauth_info": {"userinfo": person, "expires_at": until}}
    key = gradio.oauth.hashlib.sha256(f"{secret}-v4".encode()).hexdigest()
    return itsdangerous.TimestampSigner(key).sign(base64.b64encode(json.dumps(session).encode())).decode()


def press(client, button, cookie, session, *values):
    """Press a button as the page does, from a page of this session; the values that come back, or Refused."""
    config = client.get("/config").json()
    [at] = [c["id"] for c in config["components"] if c["props"].get("elem_id") == button]
    [event] = [d for d in config["dependencies"] if d["targets"] and tuple(d["targets"][0]) == (at, "click")]
    cookies = {"cookie": f"session={cookie}"} if cookie else {}
    body = {"data": list(values), "fn_index": event["id"], "session_hash": session}
    client.post("/gradio_api/queue/join", json=body, headers=cookies).raise_for_status()
    stream = client.get("/gradio_api/queue/data", params={"session_hash": session}).text
    told = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    [done] = [message for message in told if message["msg"] == "process_completed"]
    if not done["success"]:
        raise Refused(str(done["output"]))
    return done["output"]["data"]


def vote(client, space, cookie, session, visitor):
    """A battle and a vote on the page; (its voter, its way)."""
    press(client, "new-battle", cookie, session, visitor, "the fox")
    press(client, "vote-a", cookie, session, None, visitor, [], "")
    row = space[0].database.db.query(
        "select voter, way from votes v join battles b on b.id = v.battle order by v.rowid desc"
    )
    return tuple(next(row).values())


def test_one_person_is_one_voter_in_every_browser_and_nothing_of_the_account_is_stored(space, client):
    first, second = call(client, "visitor"), call(client, "visitor")
    mine = vote(client, space, signed_in("zoe-4711"), "one", first)
    assert mine == vote(client, space, signed_in("zoe-4711"), "two", second)
    assert mine[1] == "login"
    assert vote(client, space, signed_in("zoe-4712"), "three", first)[0] != mine[0]
    assert vote(client, space, None, "four", first)[1] == "page"
    stored = "".join(space[0].database.db.conn.iterdump())
    assert "zoe" not in stored


@pytest.mark.parametrize(
    "cookie",
    [signed_in("zoe-4711", secret=""), signed_in("zoe-4711", until=1), "nonsense", None],
    ids=["another key", "old", "nonsense", "none"],
)
def test_a_cookie_that_is_forged_or_old_signs_nobody_in(space, client, cookie):
    with pytest.raises(Refused, match="not of this server"):
        vote(client, space, cookie, f"s{cookie}"[:9], "account zoe-4711")
    assert vote(client, space, cookie, f"t{cookie}"[:9], call(client, "visitor"))[1] == "page"


def test_a_battle_of_an_account_is_not_another_visitors(space, client):
    battle = press(client, "new-battle", signed_in("zoe-4711"), "mine", call(client, "visitor"), "the fox")[1]["battle"]
    with pytest.raises(Refused, match="not yours"):
        call(client, "vote", call(client, "visitor"), battle, "a")
    with pytest.raises(Refused, match="not yours"):
        press(client, "vote-a", None, "mine", None, call(client, "visitor"), [], "")


def test_signing_in_goes_through_the_hub_and_back_to_the_spaces_own_address(space, client):
    begun = client.get("/login/huggingface?_target_url=/?run=1", headers={"x-forwarded-host": "evil.example"})
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    assert asked["redirect_uri"][0].startswith(f"https://{SPACE}/login/callback")
    person = {"sub": "4713", "name": "N", "preferred_username": "zoe-of-the-hub", "profile": "", "picture": ""}
    Hub.claims = person | {"nonce": asked["nonce"][0]}
    cookie = begun.headers["set-cookie"].partition("session=")[2].partition(";")[0]
    back = {"code": "c", "state": asked["state"][0], "_target_url": "https://evil.example/x"}
    ended = client.get("/login/callback", params=back, headers={"cookie": f"session={cookie}"})
    assert (ended.status_code, ended.headers["location"]) == (307, "/x"), ended.text
    cookie = ended.headers["set-cookie"].partition("session=")[2].partition(";")[0]
    assert vote(client, space, cookie, "through", call(client, "visitor"))[1] == "login"


def test_in_a_frame_signing_in_opens_a_tab_of_its_own(space, chromium):
    context = chromium.new_context()
    context.route(f"https://{SPACE}/**", lambda route: route.fulfill(body="the Space's own tab"))
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    tab.goto(f"{space[0].settings.frames[0]}/spaces/someone/playground?{space[1]}")
    page = tab.frame_locator("iframe")
    page.get_by_role("tab", name="Arena").click()
    with context.expect_page() as opened:
        page.locator("#login").click()
    opened.value.wait_for_url(f"https://{SPACE}/login/huggingface?_target_url=/")
    assert page.locator("#own-tab a").get_attribute("href") == f"https://{SPACE}/"
    context.close()


@pytest.mark.parametrize("missing", ["OAUTH_CLIENT_SECRET", "SYSTEM", "SPACE_ID", "PLAYGROUND_LOGIN"])
def test_login_is_offered_only_where_the_hub_gives_its_secret(monkeypatch, missing):
    for name in ("SPACE_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SYSTEM", "spaces")
    assert Settings().login
    monkeypatch.setenv(missing, "0" if missing == "PLAYGROUND_LOGIN" else "")
    assert not Settings().login
