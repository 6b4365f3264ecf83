"""Scalars keep their text; the asker decides what they mean; every mistake has its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.yaml_nodes import Item, Table, did_you_mean, parse
from protocol.errors import ConfigError


def table(text: str) -> Table:
    parsed = parse(text, "f.yml")
    assert not isinstance(parsed, str)
    return parsed


def item(text: str) -> Item:
    found = table(f"key: {text}").value("key", "key")
    assert isinstance(found, Item)
    return found


@pytest.mark.parametrize("text", ["8080", "0123", "yes", "1e3", "0x1F", "12:30:45", "2001-01-01", "1_000", ".5", "No"])
def test_a_text_field_keeps_what_was_typed(text: str) -> None:
    assert item(text).text() == text


@pytest.mark.parametrize(
    ("text", "expected"), [("~", ""), ("null", ""), ("", ""), ("'~'", "~"), ("'null'", "null"), ("''", "")]
)
def test_null_is_empty_unless_quoted(text: str, expected: str) -> None:
    assert item(text).text() == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("y", True), ("On", True), ("true", True), ("n", False), ("OFF", False), ("No", False)]
)
def test_booleans_of_yaml_1_1(text: str, expected: bool) -> None:
    assert item(text).boolean() is expected


@pytest.mark.parametrize("text", ["'true'", "1", "yeah", "tRue", "[]", "{}"])
def test_no_boolean(text: str) -> None:
    with pytest.raises(ConfigError, match="true or false"):
        item(text).boolean()


@pytest.mark.parametrize(
    ("text", "expected"), [("80", 80), ("0x50", 80), ("010", 8), ("1_000", 1000), ("+5", 5), ("0", 0), ("0b11", 3)]
)
def test_integers_as_go_reads_them(text: str, expected: int) -> None:
    assert item(text).integer(0, 65535) == expected


@pytest.mark.parametrize("text", ["'80'", "80.0", "-1", "65536", "099", "1e3", "eighty", "9" * 5000, "0x", "12:30"])
def test_no_integer(text: str) -> None:
    with pytest.raises(ConfigError, match="must be"):
        item(text).integer(0, 65535)


def test_quotes_are_named_as_the_reason() -> None:
    with pytest.raises(ConfigError) as caught:
        item("'80'").integer(0, 65535)
    assert "quotes" in caught.value.hint


def test_lists_and_choices() -> None:
    assert [entry.text() for entry in item("[a, 0123]").items()] == ["a", "0123"]
    assert [entry.text() for entry in item("alone").items()] == ["alone"]
    assert item("~").items() == []
    assert item("fail").choice(["fail", "random"]) == "fail"
    with pytest.raises(ConfigError) as caught:
        item("randon").choice(["fail", "random"])
    assert caught.value.hint == "did you mean 'random'?"


def test_anchors_and_merge_keys() -> None:
    found = table("base: &b {x: 1, y: 2}\nmore: &m {z: 3}\nuse:\n  <<: [*b, *m]\n  y: 5\nalias: *b\n")
    use = found.value("use", "use").table()
    assert {key: use.value(key, key).text() for key in use} == {"x": "1", "y": "5", "z": "3"}
    assert found.value("alias", "alias").table().get("x") is not None


@pytest.mark.parametrize("text", ["a: &a\n  <<: *a\n", "a: &a {<<: [*a]}", "x: &x {<<: 5}"])
def test_merging_in_a_circle_ends(text: str) -> None:
    found = table(text)
    with pytest.raises(ConfigError, match="another table"):
        found.value(next(iter(found)), "x").table()


@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "twice"),
        ("a: [\n", 2, 1, "not YAML"),
        ("a: 1\n\tb: 2\n", 2, 1, "not YAML"),
        ("a: *b\n", 1, 4, "undefined alias"),
        ("a: 1\n---\nb: 2\n", 2, 1, "another document"),
        ("[a]: 1\n", 1, 1, "plain word"),
        ("- a\n", 1, 1, "table"),
    ],
)
def test_mistakes_have_a_place(text: str, line: int, column: int, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        table(text)
    error = caught.value
    assert (error.file, error.line, error.column) == ("f.yml", line, column), error.message
    assert word in error.message


def test_unknown_keys_get_a_guess() -> None:
    with pytest.raises(ConfigError) as caught:
        table("serveraddr: x").only(["server_addr", "tunnels"])
    assert caught.value.hint == "did you mean 'server_addr'?"
    assert "unknown key 'serveraddr' in the file" in caught.value.message
    with pytest.raises(ConfigError) as caught:
        table("web_addr: x").only(["server_addr"], hints={"web_addr": "it is called inspect_addr here"})
    assert caught.value.hint == "it is called inspect_addr here"


def test_did_you_mean_nothing() -> None:
    assert did_you_mean("zzz", ["server_addr"]) == ""


def test_python_tags_mean_nothing() -> None:
    with pytest.raises(ConfigError, match="tag"):
        item("!!python/object:os.system x").text()


def test_empty_documents_and_bare_words() -> None:
    assert [len(table(text)) for text in ("", "# x\n", "~", "---\n")] == [0, 0, 0, 0]
    assert parse("word", "f") == "word"
    with pytest.raises(ConfigError, match="larger"):
        parse("x" * (1 << 20) + "y", "f")


def test_deep_nesting_is_an_error() -> None:
    with pytest.raises(ConfigError):
        parse("[" * 20000, "f")


@given(st.text(max_size=60))
def test_any_text_parses_or_is_our_error(text: str) -> None:
    try:
        parse(text, "f")
    except ConfigError as error:
        if error.file != "f":
            raise
