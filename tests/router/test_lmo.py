"""The compiler of translations, against what LuCI's own po2lmo made, and read back by a reader that looks texts up
as LuCI does."""

import json
import re
import struct
import sys
import unittest

import support

sys.path.insert(0, str(support.ROOT / "packaging"))
import lmo

SAMPLE = support.HERE / "lmo"
ID = support.ROOT / "openwrt/luci-app-ketuk/po/id/ketuk.po"


class Catalogue:
    """A .lmo, searched by halves."""

    def __init__(self, data):
        [begin] = struct.unpack(">I", data[-4:])
        self.data, self.index = data, [struct.unpack_from(">4I", data, at) for at in range(begin, len(data) - 4, 16)]

    def get(self, key):
        low, high = 0, len(self.index)
        while low < high:
            middle = (low + high) // 2
            found, _, offset, length = self.index[middle]
            if found == key:
                return self.data[offset : offset + length].decode()
            low, high = (middle + 1, high) if found < key else (low, middle)
        return None


class Lmo(unittest.TestCase):
    def test_what_po2lmo_makes(self):
        """The same bytes with contexts, plurals, escapes, texts of several lines, and texts that are not translated."""
        self.assertEqual(lmo.compile_po((SAMPLE / "sample.po").read_text()), (SAMPLE / "sample.lmo").read_bytes())

    def test_every_text_of_the_page_is_found(self):
        po = ID.read_text()
        catalogue = Catalogue(lmo.compile_po(po))
        texts = [(json.loads(key), json.loads(text)) for key, text in re.findall(r'^msgid (".+")\nmsgstr (".+")$', po, re.M)]
        self.assertEqual(len(texts), po.count("\nmsgid "))
        for key, text in texts:
            # If there is no text, LuCI shows the id.
            self.assertEqual(catalogue.get(lmo.sfh(key.encode())) or key, text)
        same = sum(key == text for key, text in texts)
        # The rule for plurals is there too.
        self.assertEqual(len(catalogue.index), len(texts) - same + 1)
        self.assertEqual(catalogue.get(0), "nplurals=1; plural=0;")

    def test_it_lies_as_a_processor_wants_it(self):
        """Texts and numbers begin at multiples of four."""
        catalogue = Catalogue(lmo.compile_po(ID.read_text()))
        self.assertEqual({offset % 4 for _, _, offset, _ in catalogue.index}, {0})
        self.assertEqual(len(catalogue.data) % 4, 0)

    def test_what_is_no_po_is_said_with_its_line(self):
        for text, line in (('msgid "a"\nmsgstr b\n', 2), ('"a"\n', 1), ('msgid "a"\n\nmsgstr "b\n', 3)):
            with self.assertRaisesRegex(ValueError, f"^line {line}: "):
                lmo.compile_po(text)


if __name__ == "__main__":
    unittest.main()
