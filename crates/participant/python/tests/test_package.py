"""What the package does without exo; what it does with it is in crates/participant/tests."""

import copy
import importlib.util
import os
import pickle
import socket
import subprocess
import sys
import unittest
from unittest import mock

import skynet
from skynet import exact, faults, persistent

ODD = (
    '{"a":-0,"b":-0.0,"c":1.0,"d":1,"e":1.50,"f":1E400,"g":1e5,"h":123456789012345678901234567890,'
    '"i":[true,false,null],"j":{},"k":[],"l":"\\ud800\\"\\u0000","m":"\u00e9","n":' + "7" * 5000 + "}"
)


class Numbers(unittest.TestCase):
    def test_each_number_comes_back_by_its_text(self):
        self.assertEqual(exact.dumps(exact.loads(ODD)).decode(), ODD)

    def test_a_number_that_is_kept_is_a_number(self):
        value = exact.loads("[1.50, -0, 1E400]")
        self.assertEqual(value, [1.5, 0, float("inf")])
        self.assertEqual(exact.dumps([value[0] + 1]), b"[2.5]")
        for copied in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
            self.assertEqual(exact.dumps(copied), b"[1.50,-0,1E400]")

    def test_other_libraries_take_a_number_that_is_kept_whichever_is_imported_first(self):
        read = "from skynet import exact; v = exact.loads('[1.50, 1e5, -0, 1E400]')"
        late = "import sys; assert not {'xmlrpc', 'yaml'} & sys.modules.keys()"
        marshal = "import xmlrpc.client; write = lambda: xmlrpc.client.dumps((v,))"
        represent = "import yaml; write = lambda: yaml.safe_dump(v)"
        for library, said in (
            (marshal, ["<double>1.5<", "<double>100000.0<", "<int>0<", "<double>inf<"]),
            (represent, ["- 1.5", "- 100000.0", "- 0", "- .inf"]),
        ):
            if library is represent and importlib.util.find_spec("yaml") is None:
                continue
            for lines in ((read, late, library), (library, read)):
                source = "; ".join((*lines, "print(write())"))
                ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
                self.assertEqual(ended.returncode, 0, ended.stderr)
                for words in said:
                    self.assertIn(words, ended.stdout)

    def test_the_type_of_a_number_that_is_kept_is_found_in_tables_by_type(self):
        table = {float: "float", int: "int"}
        self.assertEqual([table[type(value)] for value in exact.loads("[1.50, -0]")], ["float", "int"])
        self.assertNotEqual(exact.KeptFloat, exact.KeptInt)

    def test_both_ways_to_write_agree(self):
        value = {"a": [1, 2.5, "x\n\u00e9", None, True], 1: {None: {}, True: (), 2.5: "\x7f"}}
        quick, exact._any_kept = exact._any_kept, False
        try:
            text = exact.dumps(value)
            exact._any_kept = True
            self.assertEqual(exact.dumps(value), text)
        finally:
            exact._any_kept = quick

    def test_what_has_no_form_in_json_is_refused(self):
        for value in (float("nan"), float("inf"), {(1, 2): 3}, {1, 2}, object()):
            for slow in (False, True):
                quick, exact._any_kept = exact._any_kept, slow
                try:
                    with self.assertRaises((TypeError, ValueError)):
                        exact.dumps(value)
                finally:
                    exact._any_kept = quick
        for text in ("NaN", "[Infinity]", "{", "1 2", ""):
            with self.assertRaises(ValueError):
                exact.loads(text)


class Items(unittest.TestCase):
    def item(self):
        return skynet.Item('{"fei":{"wfid":"w"},"fields":{"ev":{"id":1},"l":[{"x":2}],"params":{"unit":"MB"}}}')

    def test_fields_are_attributes_at_every_depth(self):
        item = self.item()
        self.assertEqual((item.wfid, item.fields.ev.id, item.fields.l[0].x), ("w", 1, 2))
        self.assertEqual(item.params.unit, "MB")
        self.assertIsNone(item.fields.none)
        item.fields.new = {"a": {"b": 1}}
        item.fields.new.a.b = 2
        self.assertEqual(item.fields["new"], {"a": {"b": 2}})
        del item.fields.ev
        self.assertNotIn("ev", item.fields)
        with self.assertRaises(AttributeError):
            del item.fields.ev

    def test_names_of_methods_are_no_attributes(self):
        item = self.item()
        with self.assertRaises(AttributeError):
            item.fields.items = 1
        item.fields["items"] = 1
        self.assertIn(("items", 1), item.fields.items())
        self.assertEqual(copy.deepcopy(item.fields), item.fields)

    def test_paths_lead_through_objects(self):
        item = self.item()
        self.assertEqual((item.lookup("ev.id"), item.lookup("ev.id.x", 5), item.lookup("a")), (1, 5, None))
        item.set_field("a.b.c", 3)
        self.assertEqual(item.fields.a.b.c, 3)
        with self.assertRaises(ValueError):
            item.set_field("ev.id.x", 1)

    def test_result_and_forget_stand_in_the_item(self):
        item = skynet.Item()
        self.assertIsNone(item.result)
        self.assertFalse(item.forget)
        item.result = "ok"
        item.forget = True
        self.assertEqual(item.json(), b'{"fields":{"__result__":"ok","params":{"forget":true}}}')
        self.assertTrue(item.forget)

    def test_a_look_changes_nothing(self):
        item = skynet.Item(b'{"fei":{},"fields":{"params":{}}}')
        before = item.json()
        self.assertEqual((item.wfid, item.forget, item.params.x, item.lookup("a")), (None, False, None, None))
        self.assertEqual(item.json(), before)

    def test_what_is_missing_reads_as_empty_and_is_put_there_by_writing(self):
        writes = (
            lambda fields: fields.__setitem__("x", 1),
            lambda fields: setattr(fields, "x", 1),
            lambda fields: fields.setdefault("x", 1),
            lambda fields: fields.update(x=1),
            lambda fields: fields.__ior__({"x": 1}),
        )
        for text in ('{"fields":{}}', '{"fields":{"params":null},"fei":null}', "{}"):
            for write in writes:
                item = skynet.Item(text)
                params, fei = item.params, item.fei
                self.assertEqual((fei.wfid, fei.get("wfid"), dict(params), "x" in params), (None, None, {}, False))
                fei.update({})
                self.assertEqual(item.json().decode(), text)
                self.assertIs(item.params, params)
                write(params)
                write(fei)
                self.assertEqual(item.data, {"fields": {"params": {"x": 1}}, "fei": {"x": 1}})
                params.y = 2
                self.assertEqual((item.params.y, type(item.params)), (2, skynet.Fields))

    def test_what_was_put_there_meanwhile_stays(self):
        item = skynet.Item('{"fields":{}}')
        early = item.params
        item.fields.params = {"a": 1}
        early.b = 2
        self.assertEqual(item.json(), b'{"fields":{"params":{"a":1}}}')

    def test_an_empty_one_that_is_copied_is_an_ordinary_one(self):
        params = skynet.Item('{"fields":{}}').params
        for copied in (copy.copy(params), copy.deepcopy(params), pickle.loads(pickle.dumps(params))):
            self.assertEqual((type(copied), copied), (skynet.Fields, {}))

    def test_what_is_no_object_is_no_item(self):
        for data in ("[]", "1", "", b"\xff", [1]):
            with self.assertRaises(ValueError):
                skynet.Item(data)

    def test_check_raises_only_once_cancelled(self):
        item = self.item()
        item.check()
        item.cancelled = "timeout"
        with self.assertRaisesRegex(skynet.Cancelled, "timeout"):
            item.check()


class Formless(unittest.TestCase):
    def test_what_has_no_form_in_json_is_told_with_its_place(self):
        around = {}
        around["a"] = [around]
        deep = []
        for _ in range(100000):
            deep = [deep]
        for value, kind, text in (
            ({"fields": {"y": {1}}}, TypeError, "fields.y: set has no form in JSON"),
            ({"a": [1, (2, b"x")]}, TypeError, "a.1.1: bytes has no form in JSON"),
            ({"a": {1: float("nan")}}, ValueError, "a.1: nan has no form in JSON"),
            ({"a": {(1,): 2}}, TypeError, "a: a key of type tuple has no form in JSON"),
            ({1}, TypeError, "set has no form in JSON"),
            (around, ValueError, "a.0: stands within itself"),
            (deep, RecursionError, "nested too deeply for JSON, or within itself"),
        ):
            for kept in (False, True):
                with mock.patch.object(exact, "_any_kept", kept):
                    try:
                        exact.dumps(value)
                    except Exception as caught:
                        error = caught
                if value is around and kept:
                    kind, text = RecursionError, "nested too deeply for JSON, or within itself"
                self.assertEqual((type(error), str(error)), (kind, text))
                self.assertEqual((error.__context__, error.__cause__), (None, None))


class Faults(unittest.TestCase):
    def caught(self, error):
        try:
            raise error
        except Exception as caught:
            return caught

    def test_an_exception_is_a_fault_with_code_and_text(self):
        for error, code, text in (
            (ValueError("no"), 1, "ValueError: no"),
            (KeyError(), 1, "KeyError"),
            (skynet.Retry("later", 9), 9, "later"),
            (skynet.Final("never"), 10, "never"),
            (skynet.Fault("odd", 899), 899, "odd"),
        ):
            self.assertEqual((faults.code_of(error), faults.text_of(error)), (code, text))

    def test_a_trace_tells_file_line_function_and_source(self):
        trace = faults.trace_of(self.caught(ValueError("no")))
        self.assertEqual(len(trace), 1)
        self.assertRegex(trace[0], r"test_package\.py:\d+: in `caught raise error'$")

    def test_a_code_is_one_of_its_kind(self):
        for kind, code in ((skynet.Retry, 0), (skynet.Retry, 10), (skynet.Final, 9), (skynet.Final, 900), (skynet.Fault, 0)):
            with self.assertRaises(ValueError):
                kind("x", code)

    def test_a_fault_can_be_pickled(self):
        error = pickle.loads(pickle.dumps(skynet.Final("x", 12)))
        self.assertEqual((str(error), error.code), ("x", 12))


class Programs(unittest.TestCase):
    def run_file(self, source, item=b"{}"):
        environment = {**os.environ, "SKYNET_PARTICIPANT": ""}
        command = [sys.executable, "-W", "error", "-X", "dev", "-c", source]
        return subprocess.run(command, input=item, capture_output=True, env=environment)

    def test_a_function_is_a_participant(self):
        ended = self.run_file(
            "import skynet\n@skynet.participant\ndef double(item): item.fields.n *= 2\nskynet.run()",
            b'{"fields":{"n":21}}',
        )
        self.assertEqual((ended.returncode, ended.stdout), (0, b'{"fields":{"n":42}}\n'), ended.stderr)

    def test_a_class_needs_no_method_but_work(self):
        ended = self.run_file(
            "import skynet\nclass Own:\n  def work(self, item): return skynet.Item({'fields': {'a': 1}})\nskynet.run(Own)"
        )
        self.assertEqual((ended.returncode, ended.stdout), (0, b'{"fields":{"a":1}}\n'), ended.stderr)

    def test_what_is_no_item_is_no_answer(self):
        ended = self.run_file("import skynet\nskynet.run(lambda item: 5)")
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"TypeError: work returned int instead of an item", ended.stderr)

    def test_any_text_can_be_printed(self):
        ended = self.run_file("import skynet\nskynet.run(lambda item: print('\\ud800'))")
        self.assertEqual((ended.returncode, ended.stderr), (0, b"\\ud800\n"))

    def test_the_module_says_what_it_is(self):
        for arguments, code, start in ((["--version"], 0, b"skynet 0"), ([], 0, b"usage: "), (["x"], 100, b"")):
            ended = subprocess.run([sys.executable, "-m", "skynet", *arguments], capture_output=True)
            self.assertEqual(ended.returncode, code)
            self.assertTrue(ended.stdout.startswith(start))


class Listening(unittest.TestCase):
    def test_the_handler_of_a_signal_that_nobody_could_answer_is_refused(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            handler = mock.Mock(_in_threads=False)
            listener = persistent.Listener(mock.Mock(socket=ours), handler, mock.Mock())
            # Such a handler runs in this thread, which would be the one that listens.
            self.assertRaises(skynet.Refused, listener.hurry)
            listener._is_at_work = True
            listener.hurry()
            listener.start()
            ours.shutdown(socket.SHUT_RD)
            # As after an exception between two items.
            listener._is_at_work = False
            listener.end()
            self.assertFalse(listener.is_alive())


if __name__ == "__main__":
    unittest.main()
