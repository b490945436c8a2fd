from lineup.cli.files import failure_line


def test_a_failure_names_its_file_once():
    assert failure_line("a.png", "a.png cannot be read") == "a.png cannot be read"
    assert failure_line("a.png", "the file is empty") == "a.png: the file is empty"
