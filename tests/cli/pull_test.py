#!/usr/bin/env python3
"""`seer pull` against a hub that misbehaves."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

from hub_server import COMMIT, Hub
from program import PROGRAM, run

FOLDER = "models--org--name"
SIZE = 300_000  # of the weights


class Pull(unittest.TestCase):
    def setUp(self):
        self.home = Path(tempfile.mkdtemp(prefix="seer-pull-"))
        self.addCleanup(shutil.rmtree, self.home)
        self.hub = Hub()
        self.addCleanup(self.hub.close)

    def environment(self, **more):
        plain = {name: "" for name in ("HF_TOKEN", "HF_HUB_CACHE", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "http_proxy",
                                       "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
        return {**plain, "HF_HOME": str(self.home), "HF_ENDPOINT": self.hub.url, "no_proxy": "*", **more}

    def pull(self, *arguments, **environment):
        return run("pull", "org/name", *arguments, **self.environment(**environment))

    def model(self):
        return self.home / "hub" / FOLDER

    def incomplete(self):
        return self.model() / "blobs" / (self.hub.digest("model.safetensors") + ".incomplete")

    def prepare_incomplete(self, content):
        self.incomplete().parent.mkdir(parents=True)
        self.incomplete().write_bytes(content)

    def ranges_asked(self):
        return [wanted for _, _, _, wanted in self.hub.storage.requests]

    def expect_pulled(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        folder = Path(done.stdout.strip())
        self.assertEqual(folder, self.model() / "snapshots" / COMMIT)
        self.assertEqual({path.name for path in folder.iterdir()},
                         {"config.json", "tokenizer.json", "model.safetensors"})
        for path in folder.iterdir():
            self.assertEqual(path.read_bytes(), self.hub.files[path.name])
            self.assertEqual(os.readlink(path), f"../../blobs/{self.hub.digest(path.name)}")
        self.assertFalse([path for path in (self.model() / "blobs").iterdir() if path.suffix == ".incomplete"])
        return folder

    def expect_failed(self, done, *words, code=1):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        for word in words:
            self.assertIn(word, done.stderr)

    def test_pulls_what_seer_reads(self):
        self.expect_pulled(self.pull())
        self.assertEqual((self.model() / "refs" / "main").read_text(), COMMIT)
        requests = len(self.hub.storage.requests)
        line = json.loads(self.pull("--json").stdout)
        self.assertEqual(len(self.hub.storage.requests), requests)
        self.assertEqual((line["commit"], line["files"], line["downloaded_bytes"]), (COMMIT, 3, 0))

    def test_huggingface_hub_finds_the_files(self):
        try:
            from huggingface_hub import snapshot_download
        except ImportError:
            self.skipTest("huggingface_hub is not installed")
        folder = self.expect_pulled(self.pull())
        found = snapshot_download("org/name", cache_dir=self.home / "hub", local_files_only=True)
        self.assertEqual(Path(found), folder)

    def test_quiet(self):
        done = self.pull("--quiet")
        self.expect_pulled(done)
        self.assertEqual(done.stderr, "")

    def test_revisions(self):
        self.expect_pulled(self.pull("--revision", "refs/pr/1"))
        self.assertEqual((self.model() / "refs" / "refs" / "pr" / "1").read_text(), COMMIT)
        self.expect_pulled(self.pull("--revision", COMMIT))
        self.assertFalse((self.model() / "refs" / COMMIT).exists())
        self.expect_failed(self.pull("--revision", "f" * 40), "answers with commit")
        for revision in ("../x", "a//b", "", "a b", ".x"):
            self.expect_failed(self.pull("--revision", revision), "revision")

    def test_cache_folder_and_endpoint_flags(self):
        with tempfile.TemporaryDirectory() as other:
            done = self.pull("--cache-dir", other, "--endpoint", self.hub.url + "/", HF_ENDPOINT="http://127.0.0.1:9")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue((Path(other) / FOLDER / "snapshots" / COMMIT / "config.json").exists())

    def test_token_goes_to_the_endpoint_alone(self):
        self.hub.token = "hf_secret"
        self.expect_failed(self.pull(), "HTTP 401", "HF_TOKEN", str(self.home / "token"))
        self.expect_failed(self.pull(HF_TOKEN="hf_wrong"), "HTTP 401", "not accepted")
        self.expect_pulled(self.pull(HF_TOKEN="hf_secret"))
        self.assertTrue(self.hub.storage.requests)
        for _, _, authorization, _ in self.hub.storage.requests:
            self.assertIsNone(authorization)

    def test_token_file(self):
        self.hub.token = "hf_secret"
        (self.home / "token").write_text("hf_secret\n")
        self.expect_pulled(self.pull())
        self.expect_failed(self.pull(HF_TOKEN="a\nb"), "token")

    def test_refusals(self):
        self.hub.status["/api"] = (404, 1)
        self.expect_failed(self.pull("--revision", "nope"), "HTTP 404", "no such revision")
        self.hub.status["/api"] = (403, 1)
        self.expect_failed(self.pull(), "HTTP 403", "accept its terms on " + self.hub.url + "/org/name")
        self.hub.status["/api"] = (418, 1)
        self.expect_failed(self.pull(), "HTTP 418", "HF_ENDPOINT")
        self.hub.status["/org/name/resolve"] = (404, 1)
        self.expect_failed(self.pull(), "HTTP 404", "no such model, revision or file")
        self.expect_failed(self.pull(HF_HUB_OFFLINE="1"), "HF_HUB_OFFLINE")

    def test_wrong_usage(self):
        for name in ("noslash", "a/b/c", "../x", "a/..", "a--b/c"):
            self.expect_failed(run("pull", name, **self.environment()), "org/name", code=2)
        self.expect_failed(run("pull", **self.environment()), "model", code=2)
        for endpoint in ("ftp://x", "file:///etc", "https://", "http://a@b", "https://x?y"):
            self.expect_failed(self.pull("--endpoint", endpoint), "endpoint")

    def test_busy_server(self):
        self.hub.status["/api"] = (503, 1)
        self.hub.status["/store"] = (500, 1)
        done = self.pull()
        self.expect_pulled(done)
        self.assertEqual(done.stderr.count("trying again"), 2)

    def test_no_server(self):
        self.expect_failed(self.pull(HF_ENDPOINT="http://127.0.0.1:9"), "given up after", "network")

    def test_short_reads_go_on_where_they_ended(self):
        self.hub.cut = [100_000, 50_000]
        self.expect_pulled(self.pull())
        self.assertEqual(self.ranges_asked(), [None, "bytes=100000-", "bytes=150000-"])

    def test_short_reads_without_progress_end(self):
        self.hub.cut = [1000] + [0] * 20
        self.expect_failed(self.pull(), "given up after", "kept")
        self.assertEqual(self.incomplete().stat().st_size, 1000)
        self.hub.cut = []
        self.expect_pulled(self.pull())

    def test_resume(self):
        self.prepare_incomplete(b"w" * 1234)
        line = json.loads(self.pull("--json").stdout)
        self.assertEqual(line["downloaded_bytes"], line["bytes"] - 1234)
        self.assertEqual(self.ranges_asked(), ["bytes=1234-"])

    def test_resume_of_a_whole_file_downloads_nothing(self):
        self.prepare_incomplete(b"w" * SIZE)
        self.expect_pulled(self.pull())
        self.assertEqual(self.ranges_asked(), [])

    def test_resume_of_too_long_a_file(self):
        self.prepare_incomplete(b"w" * (SIZE + 1))
        self.expect_pulled(self.pull())
        self.assertEqual(self.ranges_asked(), [None])

    def test_resume_of_other_bytes(self):
        self.prepare_incomplete(b"z" * 1234)
        done = self.pull()
        self.expect_pulled(done)
        self.assertIn("its digest is wrong", done.stderr)

    def test_ranges(self):
        for ranges in ("ignored", "refused"):
            with self.subTest(ranges=ranges):
                shutil.rmtree(self.model(), ignore_errors=True)
                self.hub.ranges = ranges
                self.prepare_incomplete(b"w" * 1234)
                self.expect_pulled(self.pull())
        shutil.rmtree(self.model())
        self.hub.ranges = "shifted"
        self.prepare_incomplete(b"w" * 1234)
        self.expect_failed(self.pull(), "another range")

    def test_wrong_digest(self):
        self.hub.wrong = 1
        done = self.pull()
        self.expect_pulled(done)
        self.assertIn("digest is wrong", done.stderr)
        shutil.rmtree(self.model())
        self.hub.wrong = 9
        self.expect_failed(self.pull(), "model.safetensors", "its digest is", "twice")
        self.assertFalse((self.model() / "snapshots" / COMMIT / "model.safetensors").exists())
        self.assertFalse((self.model() / "refs" / "main").exists())

    def changed_index(self, name, **changes):
        siblings = self.hub.index()["siblings"]
        for entry in siblings:
            if entry["rfilename"] == name:
                entry.update(changes)
        return {"siblings": siblings}

    def test_wrong_digest_of_a_small_file(self):
        self.hub.index_changes = self.changed_index("config.json", blobId="0" * 40)
        self.expect_failed(self.pull(), "config.json", "its digest is")

    def test_digests_from_headers(self):
        self.hub.blobs = False
        self.expect_pulled(self.pull())

    def test_more_bytes_than_announced(self):
        self.hub.index_changes = self.changed_index("model.safetensors", size=1000)
        self.expect_failed(self.pull(), "more than the 1000 bytes")

    def test_other_commit(self):
        self.hub.headers = {"X-Repo-Commit": "f" * 40}
        self.expect_failed(self.pull(), "answers with commit")

    def test_hostile_index(self):
        name = {"rfilename": "a.safetensors", "size": 1, "blobId": "0" * 40}
        for changes, word in [
                ({"siblings": [{**name, "rfilename": "../../x.safetensors"}]}, "refused"),
                ({"siblings": [{**name, "rfilename": "/etc/x.safetensors"}]}, "refused"),
                ({"siblings": [{**name, "rfilename": "a\\b"}]}, "refused"),
                ({"siblings": [{**name, "rfilename": "a\x1b[2J"}]}, "refused"),
                ({"siblings": [{**name, "rfilename": ""}]}, "refused"),
                ({"siblings": [name, name]}, "twice"),
                ({"siblings": [{**name, "size": 1 << 60}]}, "size"),
                ({"siblings": [{**name, "size": -1}]}, "size"),
                ({"siblings": [{**name, "blobId": "../x"}]}, "blobId"),
                ({"siblings": [{**name, "lfs": {"sha256": "../x"}}]}, "sha256"),
                ({"siblings": [{**name, "size": 1 << 40}]}, "Make room"),
                ({"siblings": 3}, "siblings"), ({"siblings": []}, "no *.safetensors"), ({"sha": "../x"}, "sha")]:
            with self.subTest(changes=changes):
                self.hub.index_changes = changes
                self.expect_failed(self.pull(), word)
        self.assertFalse((self.home / "hub" / "x.safetensors").exists())

    def test_redirects(self):
        self.hub.location = "file:///etc/passwd"
        self.expect_failed(self.pull(), "redirects to", "refused")
        self.hub.location = self.hub.url + f"/org/name/resolve/{COMMIT}/model.safetensors"
        self.expect_failed(self.pull(), "redirects")

    def test_slow_start(self):
        self.hub.delay = 1.5
        self.expect_pulled(self.pull())

    def test_interrupt_keeps_what_has_arrived(self):
        self.hub.pace = 0.05
        with subprocess.Popen([PROGRAM, "pull", "org/name"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, env={**os.environ, **self.environment()}) as process:
            for _ in range(200):
                if self.incomplete().exists() and self.incomplete().stat().st_size > 8192:
                    break
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn("run the same command again", errors)
        kept = self.incomplete().stat().st_size
        self.assertGreater(kept, 8192)
        self.hub.pace = None
        self.expect_pulled(self.pull())
        self.assertEqual(self.ranges_asked()[-1], f"bytes={kept}-")

    def test_waits_for_another_program(self):
        lock = self.home / "hub" / ".locks" / FOLDER / (self.hub.digest("model.safetensors") + ".lock")
        lock.parent.mkdir(parents=True)
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            release = threading.Timer(2.0, fcntl.flock, (held, fcntl.LOCK_UN))
            release.start()
            done = self.pull()
            release.join()
        self.expect_pulled(done)
        self.assertIn("another program downloads it", done.stderr)

    def test_two_at_once(self):
        self.hub.pace = 0.005
        results = []
        threads = [threading.Thread(target=lambda: results.append(self.pull())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for done in results:
            self.expect_pulled(done)
        self.assertEqual(self.ranges_asked(), [None])

    def test_a_disk_that_is_full(self):
        """A limit on the size of files stands in for it."""

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        done = subprocess.run([PROGRAM, "pull", "org/name"], capture_output=True, text=True, check=False,
                              env={**os.environ, **self.environment()}, preexec_fn=limit, restore_signals=False)
        self.expect_failed(done, "cannot be written", "make room")
        self.assertEqual(self.incomplete().stat().st_size, 100_000)
        self.expect_pulled(self.pull())
        self.assertEqual(self.ranges_asked()[-1], "bytes=100000-")

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_folder_that_cannot_be_written(self):
        os.chmod(self.home, 0o500)
        try:
            self.expect_failed(self.pull(), "--cache-dir")
        finally:
            os.chmod(self.home, 0o700)

    def test_a_file_in_place_of_the_cache(self):
        (self.home / "hub").write_text("no folder")
        self.expect_failed(self.pull(), "--cache-dir")


if __name__ == "__main__":
    unittest.main()
