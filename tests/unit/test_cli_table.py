"""Tables: nothing folded, ids shortened only where a terminal is too narrow."""

from seawall.cli.table import SHORT_ID, lay_out

ID = "0192f3c1-58aa-7b3c-8d4e-123456789abc"


def test_columns_line_up_and_lines_do_not_end_in_blanks() -> None:
    lines = lay_out(("NAME", ">SIZE", "WHY"), [("a", "5 B", ""), ("longer", "10 KiB", "first time")], None)
    assert ["  ".join(line) for line in lines] == [
        "NAME      SIZE  WHY",
        "a          5 B",
        "longer  10 KiB  first time",
    ]


def test_wide_characters_take_two_columns() -> None:
    lines = lay_out(("VM", "STATE"), [("数据库", "running"), ("db", "running")], None)
    assert [line[0] for line in lines] == ["VM    ", "数据库", "db    "]


def test_ids_are_whole_in_pipes_and_where_they_fit() -> None:
    rows = [(ID, "backup")]
    assert lay_out(("#RUN", "KIND"), rows, None)[1][0] == ID
    assert lay_out(("#RUN", "KIND"), rows, len(ID) + 2 + len("backup"))[1][0] == ID


def test_ids_are_shortened_where_the_terminal_is_narrow() -> None:
    lines = lay_out(("#RUN", "KIND"), [(ID, "backup")], len(ID) + 2 + len("backup") - 1)
    assert lines[1] == [ID[:SHORT_ID], "backup"]
    assert lines[0] == ["RUN".ljust(SHORT_ID), "KIND"]


def test_no_names_no_header_and_no_rows_only_the_header() -> None:
    assert lay_out(("", ""), [("Hosts", "3")], None) == [["Hosts", "3"]]
    assert lay_out(("A", "B"), [], None) == [["A", "B"]]
    assert lay_out(("", ""), [], None) == []
