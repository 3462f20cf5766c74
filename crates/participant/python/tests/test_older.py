"""What RuoteAMQP and SkyNET do without exo."""

import configparser
import copy
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

import skynet
from RuoteAMQP import DictAttrProxy, FlowExpressionId, Launcher, Workitem
from RuoteAMQP.participant import Participant, format_block, format_exception, format_ruby_backtrace
from SkyNET import layers
from SkyNET.Control import ParticipantCtrl

ITEM = (
    '{"fei":{"engine_id":"engine","wfid":"w","subid":"s","expid":"0_1_5"},"participant_name":"sizer",'
    '"wf_name":"make","fields":{"ev":{"id":1,"items":[1,{"x":1.50}]},"params":{"unit":"MB"},"n":1.0}}'
)
HERE = os.path.dirname(os.path.abspath(__file__))


class Proxies(unittest.TestCase):
    def test_every_name_is_an_entry_and_what_is_not_there_is_none(self):
        d = {"items": 1, "get": 2, "keys": 3, "ev": {"values": {"x": 4}}}
        proxy = DictAttrProxy(d)
        self.assertEqual((proxy.items, proxy.get, proxy.keys, proxy.ev.values.x), (1, 2, 3, 4))
        self.assertIsNone(proxy.none)
        self.assertIsNone(proxy.__error__)
        proxy.__error__ = "no"
        proxy.ev.values.x = 5
        self.assertEqual((d["__error__"], d["ev"]), ("no", {"values": {"x": 5}}))

    def test_it_is_walked_indexed_and_told_apart_by_what_is_in_it(self):
        proxy = DictAttrProxy({"a": {"b": 1}, "c": 2})
        self.assertEqual((list(proxy), proxy["a"], "c" in proxy, "d" in proxy), (["a", "c"], {"b": 1}, True, False))
        with self.assertRaises(KeyError):
            proxy["d"]
        proxy["d"] = 3
        del proxy.c
        del proxy["a"]
        self.assertEqual((proxy.as_dict(), repr(proxy)), ({"d": 3}, "{'d': 3}"))
        with self.assertRaises(AttributeError):
            del proxy.c

    def test_an_empty_one_is_true(self):
        self.assertTrue(DictAttrProxy({}))
        self.assertTrue(DictAttrProxy({"ev": {}}).ev)

    def test_a_proxy_that_is_assigned_becomes_its_dictionary(self):
        proxy = DictAttrProxy({"a": {"b": 1}})
        proxy.copy = proxy.a
        self.assertIs(type(proxy.as_dict()["copy"]), dict)

    def test_copies_are_copies(self):
        proxy = DictAttrProxy({"a": {"b": 1}})
        for other in (copy.copy(proxy), copy.deepcopy(proxy), pickle.loads(pickle.dumps(proxy))):
            self.assertEqual(other.as_dict(), proxy.as_dict())
            other.new = 1
        self.assertEqual(proxy.as_dict(), {"a": {"b": 1}})


class Items(unittest.TestCase):
    def test_it_is_made_from_text_bytes_or_a_dictionary(self):
        for made_of in (ITEM, ITEM.encode(), json.loads(ITEM)):
            self.assertEqual(Workitem(made_of).fields.ev.id, 1)
        d = json.loads(ITEM)
        self.assertIs(Workitem(d).to_h(), d)
        for bad in ("", "[]", "{", [1], b"\xff"):
            with self.assertRaises(ValueError):
                Workitem(bad)
        # Tests of participants do this.
        self.assertIsNone(Workitem('{"fei": 1, "fields": {"params": {}}}').wfid)

    def test_it_tells_what_it_is_and_where_it_is_from(self):
        item = Workitem(ITEM)
        self.assertEqual((item.wfid, item.sid, item.wf_name), ("w", "0_1_5!s!w", "make"))
        self.assertEqual((item.participant_name, item.params.unit), ("sizer", "MB"))
        self.assertEqual((item.error, item.trace, item.timed_out, item.result), (None, None, None, None))
        self.assertEqual((item.is_cancel, item.dispatched_at), (False, None))
        self.assertTrue(Workitem('{"cancel":true,"fei":{"wfid":"w","expid":"0"}}').is_cancel)
        fei = item.fei
        self.assertEqual((fei.expid, fei["wfid"], fei.engine_id, fei.child_id), ("0_1_5", "w", "engine", 5))
        self.assertTrue(fei.direct_child(FlowExpressionId({**fei.to_h(), "expid": "0_1"})))
        self.assertFalse(fei.direct_child(FlowExpressionId({**fei.to_h(), "expid": "0"})))
        old = FlowExpressionId({"wfid": "w", "sub_wfid": "t", "subid": "", "expid": "0"})
        self.assertEqual(old.to_storage_id(), "0!t!w")

    def test_two_from_the_same_place_are_equal_whatever_is_in_them(self):
        item, other = Workitem(ITEM), Workitem(ITEM)
        other.fields.more = 1
        self.assertTrue(item == other and not item != other and hash(item) == hash(other))
        self.assertEqual((item._fei, item.hash()), (item.fei, other.hash()))
        other.to_h()["fei"]["expid"] = "0"
        self.assertFalse(item == other)
        self.assertNotEqual(item, ITEM)

    def test_fields_are_set_by_path_by_attribute_and_as_a_whole(self):
        item = Workitem(ITEM)
        item.set_field("a.b.c", 1)
        self.assertEqual((item.lookup("a.b.c"), item.lf("ev.id"), item.lookup("ev.id.x")), (1, 1, None))
        item.result, item.forget, item.error, item.trace = True, True, "no", ["x"]
        self.assertEqual((item.result, item.forget, item.error, item.trace), (True, True, "no", ["x"]))
        self.assertEqual(item.to_h()["fields"]["params"], {"unit": "MB", "forget": True})
        item.fields = {"new": 1}
        self.assertEqual((item.fields.new, item.forget), (1, False))

    def test_a_look_changes_nothing_and_what_is_missing_is_made_by_writing(self):
        for text in ('{"fei":{"wfid":"w"}}', '{"fields":{}}', '{"fields":{"params":null}}'):
            item = Workitem(text)
            self.assertFalse(item.forget or item.params.x or item.fields.x or item.result)
            self.assertEqual(item.to_h(), json.loads(text))
            item.forget = True
            self.assertEqual((item.forget, item.to_h()["fields"]), (True, {"params": {"forget": True}}))
        item = Workitem("{}")
        item.set_field("a", 1)
        item.result = 2
        self.assertEqual(item.to_h(), {"fields": {"a": 1, "__result__": 2}})

    def test_a_copy_is_of_all_and_numbers_stay(self):
        item = Workitem(ITEM)
        other = item.dup()
        other.fields.ev.id = 2
        self.assertEqual(item.fields.ev.id, 1)
        self.assertIn('"x": 1.5', item.dump())
        self.assertEqual(skynet.exact.dumps(item.dup().to_h()).decode(), ITEM)
        self.assertEqual(Workitem({"fields": {1: 2, "a": 3}}).dump().count("\n"), 5)


class Documented(unittest.TestCase):
    """The interface of items as handlers were promised it, one line after the other."""

    def test_fields_and_params_by_attribute_by_index_and_as_they_are(self):
        item = Workitem('{"fields":{"a":{"b":{"c":1}},"l":[{"x":1}],"n":null,"params":{"p":{"q":2}}}}')
        f, whole = item.fields, item.to_h()["fields"]
        self.assertEqual((f.a.b.c, item.params.p.q, f.params.p.q, f.missing, f.n), (1, 2, 2, None, None))
        # Lists are plain, and so is what is had by index.
        self.assertIs(f.l, whole["l"])
        self.assertEqual((type(f.l[0]), type(f["a"]), type(f.a), type(f.a.b)), (dict, dict, DictAttrProxy, DictAttrProxy))
        self.assertEqual((list(f), list(f.a)), (["a", "l", "n", "params"], ["b"]))
        f.a.b.c, f["d"], f.a.e = 3, f.a, {"g": 4}
        self.assertEqual((whole["a"], whole["d"]), ({"b": {"c": 3}, "e": {"g": 4}}, whole["a"]))
        self.assertIs(f.as_dict(), whole)
        self.assertIs(f.a.b.as_dict(), whole["a"]["b"])

    def test_what_is_missing_is_made_once_and_everybody_has_the_same(self):
        for text in ('{}', '{"fields":{}}', '{"fields":null}', '{"fields":{"params":null}}'):
            item = Workitem(text)
            params, more, fields = item.params, item.params, item.fields
            self.assertEqual((list(params), params.a, "a" in more), ([], None, False))
            params.a = 1
            fields.b = 2
            more.c = 3
            self.assertEqual(item.to_h(), {"fields": {"params": {"a": 1, "c": 3}, "b": 2}})
            self.assertEqual((more.a, more["a"], list(params), fields.params.c), (1, 1, ["a", "c"], 3))
            self.assertIs(params.as_dict(), item.to_h()["fields"]["params"])

    def test_lookup_and_set_field_go_through_whatever_is_there(self):
        item = Workitem('{"fields":{"a":{"b":1},"n":null,"l":[1]}}')
        item.fields.as_dict()["w"] = item.fields.a
        self.assertEqual([item.lookup(key) for key in ("a.b", "a", "w.b", "n", "n.x", "l.0", "gone.x")], [1, {"b": 1}, 1, None, None, None, None])
        for key in ("a.c", "w.d", "n.x.y", "new.x"):
            item.set_field(key, key)
            self.assertEqual(item.lookup(key), key)
        self.assertEqual(item.fields.a.as_dict(), {"b": 1, "c": "a.c", "d": "w.d"})
        item.set_field("copy", item.fields.a)
        self.assertIs(item.to_h()["fields"]["copy"], item.to_h()["fields"]["a"])
        with self.assertRaises(TypeError):
            item.set_field("l.x", 1)

    def test_dup_dump_and_the_ways_to_make_one(self):
        item = Workitem(ITEM)
        other = item.dup()
        self.assertEqual((type(other), other == item, other.to_h() == item.to_h()), (Workitem, True, True))
        other.params.unit = other.fields.ev.items[1]["x"] = 2
        self.assertEqual((item.params.unit, item.lookup("ev.items")[1]["x"]), ("MB", 1.5))
        self.assertEqual(item.dump(), json.dumps(json.loads(ITEM), sort_keys=True, indent=4))
        self.assertEqual(Workitem(item.fields).to_h(), item.to_h()["fields"])

    def test_an_item_that_is_kept_by_the_page_comes_back_digit_by_digit(self):
        text = '{"b":[-0,1.0,1.50,1E400,123456789012345678901234567890],"a":"\u00e9\\n\\ud800","fields":{"x":0.10}}'
        kept = skynet.exact.dumps(Workitem(text).to_h())
        self.assertEqual(kept.decode(), text)
        self.assertEqual(skynet.exact.dumps(Workitem(kept).to_h()), kept)
        # As handlers often do it.
        self.assertIn("1.5, Infinity", json.dumps(Workitem(text).to_h()))

    def test_the_rest_stands_at_the_top_of_the_item(self):
        item = Workitem('{"error":{"message":"m"},"trace":["t"],"wf_name":"w","fields":{"__timed_out__":[1],"__result__":false}}')
        self.assertEqual((item.error, item.trace, item.wf_name), ({"message": "m"}, ["t"], "w"))
        self.assertEqual((item.timed_out, item.result, item.participant_name, item.wfid), ([1], False, None, None))


class Errors(unittest.TestCase):
    def test_the_text_of_an_exception_has_what_its_kind_knows(self):
        class Odd(Exception):
            def __str__(self):
                raise ValueError

        class Osc(Exception):
            msg = "the server is away"

        for error, text in (
            (RuntimeError("no"), "RuntimeError: no"),
            (FileNotFoundError(2, "No such file or directory", "/x"), "FileNotFoundError(2): /x No such file or directory"),
            (PermissionError(13, "Permission denied"), "PermissionError(13): Permission denied"),
            (OSError("odd"), "OSError: odd"),
            (Osc(), "Osc: the server is away"),
            (Odd(), "Odd"),
            (KeyError("a"), "KeyError: 'a'"),
        ):
            self.assertEqual(format_exception(error), text)
        from urllib.error import HTTPError, URLError

        self.assertEqual(format_exception(HTTPError("http://h/x", 404, "Not Found", None, None)), "HTTPError: 404 http://h/x")
        self.assertEqual(format_exception(URLError("refused")), "URLError: <urlopen error refused>")

    def test_a_block_stands_between_rulers(self):
        self.assertEqual(format_block("a\nb").split("\n"), ["", "-" * 78, "a", "b", "-" * 78, ""])

    def test_a_message_to_a_participant_can_be_made_without_words(self):
        ctrl = ParticipantCtrl()
        self.assertEqual((ctrl.start(), ctrl.stop(), ctrl.die(), ctrl.message), (False, False, False, ""))
        self.assertTrue(ParticipantCtrl("stop").stop())

    def test_a_trace_has_the_form_of_ruby(self):
        self.assertEqual(format_ruby_backtrace([("a.py", 1, "f", "x()")]), ["a.py:1: in `f x()'"])


class Launchers(unittest.TestCase):
    def test_fields_and_variables_are_dictionaries_or_nothing(self):
        launcher = Launcher(amqp_host="h", amqp_user="u", amqp_pass="p", amqp_vhost="v")
        self.assertNotIn("p", vars(launcher).values())
        for given in (([1],), (None, "x")):
            with self.assertRaises(TypeError):
                launcher.launch("define x", *given)

    def test_without_exo_nothing_can_be_launched(self):
        for participant, said in (("", "the command skynet launch"), ("p", "in persistent mode only")):
            with mock.patch.dict(os.environ, SKYNET_PARTICIPANT=participant):
                with self.assertRaisesRegex(skynet.Final, said):
                    Launcher().launch("define x")


class Layers(unittest.TestCase):
    def merged(self, files, told=None, own=None):
        with tempfile.TemporaryDirectory() as site:
            for name, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(site, name)), exist_ok=True)
                with open(os.path.join(site, name), "w") as out:
                    out.write(text.replace("SITE", site))
            code = os.path.join(site, "code", "p.py")
            return layers.merged("p", code, site, own and os.path.join(site, own), told or {})

    def test_the_nearer_layer_wins(self):
        files = {
            "skynet.conf": "[skynet]\ninclude_dir=SITE/conf.d\n[x]\na=1\nb=1\nc=1\nd=1\ne=1\n[boss]\namqp_host=h\n",
            "own.conf": "[x]\nb=2\nc=2\nd=2\ne=2\n[participant]\nqueue=q\n",
            "conf.d/a.conf": "[x]\nc=3\nd=3\ne=3\n",
            "conf.d/b.conf": "[x\n",
            "p.conf": "[x]\nd=4\ne=4\n",
        }
        config = self.merged(files, {"x": {"e": 5}, "y": {"t": True, "n": 1.0, "none": None, "l": [1]}, "z": 6}, "own.conf")
        self.assertEqual([config.get("x", key) for key in "abcde"], ["1", "2", "3", "4", "5"])
        self.assertEqual((config.getboolean("y", "t"), config.get("y", "n"), config.get("y", "none")), (True, "1.0", ""))
        self.assertEqual((config.get("y", "l"), config.get("x", "z"), config.get("DEFAULT", "z")), ("[1]", "6", "6"))
        self.assertEqual([config.get("boss", key) for key in ("amqp_host", "amqp_user")], ["h", "boss"])
        self.assertEqual([config.get("participant", key) for key in ("name", "queue", "regexp", "code")], ["p", "q", "p", "p.py"])

    def test_the_folder_of_further_files_may_be_told(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "a.conf"), "w") as out:
                out.write("[x]\na=1\nb=1\n")
            config = self.merged({}, {"skynet": {"include_dir": folder}, "x": {"b": "2"}})
        self.assertEqual((config.get("x", "a"), config.get("x", "b")), ("1", "2"))

    def test_a_percent_sign_is_itself_where_it_means_nothing(self):
        config = self.merged({"skynet.conf": "[x]\na=50%\nb=%(c)s!\nc=7\nd=50%%\n"}, {"x": {"e": "5% of %(c)s"}})
        self.assertEqual([config.get("x", key) for key in "abd"], ["50%", "7!", "50%"])
        self.assertEqual(config.get("x", "e"), "5% of %(c)s")

    def test_a_file_beside_the_code_is_its_own(self):
        files = {"code/p.conf": "[x]\na=1\nb=1\n", "p.conf": "[x]\nb=2\n"}
        config = self.merged(files)
        self.assertEqual((config.get("x", "a"), config.get("x", "b")), ("1", "2"))

    def test_a_file_of_its_own_must_be_there(self):
        with self.assertRaises(ValueError):
            self.merged({}, own="gone.conf")

    def test_variables_come_from_the_files_of_the_site(self):
        before = dict(os.environ)
        # As exo.yaml has them.
        os.environ.update(TEST_A="exo", TEST_D="exo")
        with tempfile.TemporaryDirectory() as site:
            with open(os.path.join(site, "skynet.env"), "w") as out:
                out.write("# c\n\nTEST_A=1\nexport TEST_B=\"2 3\"\nTEST_C=1\nnothing\nSKYNET_WFID=x\n")
            with open(os.path.join(site, "p.env"), "w") as out:
                out.write("TEST_C=2\n")
            try:
                layers.environment("p", site)
                names = ("TEST_A", "TEST_B", "TEST_C", "TEST_D", "SKYNET_WFID")
                expected = ["1", "2 3", "2", "exo", before.get("SKYNET_WFID")]
                self.assertEqual([os.environ.get(n) for n in names], expected)
            finally:
                os.environ.clear()
                os.environ.update(before)

    def test_a_time_zone_holds_at_once(self):
        before = dict(os.environ)
        with tempfile.TemporaryDirectory() as site:
            try:
                for line, name, offset in (("TZ=ABC-5:30\n", "ABC", 19800), ("TZ=\"DEF+2\"\n", "DEF", -7200)):
                    with open(os.path.join(site, "p.env"), "w") as out:
                        out.write(line)
                    layers.environment("p", site)
                    now = time.localtime(0)
                    self.assertEqual((time.tzname[0], now.tm_zone, now.tm_gmtoff), (name, name, offset))
            finally:
                os.environ.clear()
                os.environ.update(before)
                time.tzset()


class ByHand(unittest.TestCase):
    """Runs files as a person does, who has no exo."""

    def run_file(self, text, *arguments, item=b'{"fields":{}}', name="handler.py"):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, name)
            with open(file, "w") as out:
                out.write(text)
            environment = {**os.environ, "SKYNET_PARTICIPANT": ""}
            command = [sys.executable, "-W", "error", "-X", "dev", "-m", "SkyNET", "--site", folder, file, *arguments]
            return subprocess.run(command, input=item, capture_output=True, env=environment)

    def refused(self, text, why, **more):
        ended = self.run_file(text, **more)
        self.assertNotIn(ended.returncode, (0, -15), ended.stderr)
        self.assertIn(why, ended.stderr.decode())
        self.assertEqual(ended.stdout, b"")

    def test_an_item_goes_in_and_the_answer_comes_out(self):
        ended = self.run_file(
            "class ParticipantHandler:\n  def handle_wi(self, wid):\n    print('x')\n    wid.result = self.log.name\n"
            "    self.send_to_engine(wid)\n"
        )
        self.assertEqual((ended.returncode, ended.stdout), (0, b'{"fields":{"__result__":"handler"}}\n'), ended.stderr)
        self.assertIn(b"x\nnot sent to ruote_workitems, since this is a trial: {", ended.stderr)

    def test_a_configuration_file_names_the_code(self):
        with tempfile.TemporaryDirectory() as folder:
            code, config = os.path.join(folder, "x.py"), os.path.join(folder, "x.conf")
            with open(code, "w") as out:
                out.write(
                    "class ParticipantHandler:\n  def handle_lifecycle_control(self, c):\n"
                    "    if c.start(): self.v = c.config.get('own', 'v')\n"
                    "  def handle_wi(self, wid): wid.result = (self.log.name, self.v)\n"
                )
            with open(config, "w") as out:
                out.write(f"[participant]\nname=named\ncode={code}\n[own]\nv=7\n")
            command = [sys.executable, "-m", "SkyNET", "--site", folder, config]
            environment = {**os.environ, "SKYNET_PARTICIPANT": ""}
            ended = subprocess.run(command, input=b'{"fields":{}}', capture_output=True, env=environment)
            self.assertEqual(ended.stdout, b'{"fields":{"__result__":["named","7"]}}\n', ended.stderr)

    def test_what_is_no_handler_says_why(self):
        self.refused("x = 1\n", "handler.py has no class ParticipantHandler")
        self.refused("class ParticipantHandler:\n  def __init__(self, name): pass\n", "ParticipantHandler: missing a required argument: 'name'")
        self.refused("class ParticipantHandler: pass\n", "has no method handle_wi")
        self.refused("print 'hello'\n", "handler.py is written for Python 2 (")
        self.refused("import ConfigParser\n", "is written for Python 2 (No module named 'ConfigParser'); convert it")
        self.refused("import gone\n", "No module named 'gone'")
        self.refused("x = (\n", "SyntaxError")
        self.refused("x = 1\n", "fatal: unable to read ", name="handler.conf")

    def test_the_name_of_another_module_does_no_harm(self):
        ended = self.run_file("import queue\nclass ParticipantHandler:\n  def handle_wi(self, wid): wid.result = 1\n", name="queue.py")
        self.assertEqual(ended.returncode, 0, ended.stderr)

    def test_usage_is_told(self):
        for arguments, code in ((["--version"], 0), (["--help"], 0), ([], 100), (["x.py", "--fault", "0"], 100), (["x.py", "y"], 100)):
            ended = subprocess.run([sys.executable, "-m", "SkyNET", *arguments], capture_output=True)
            self.assertEqual(ended.returncode, code, ended)


if __name__ == "__main__":
    unittest.main()
