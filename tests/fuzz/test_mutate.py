"""The damaged files of the tests are the same everywhere, different from each other, and bounded."""

from tests.fuzz.mutate import mutations

DATA = bytes(range(256)) * 8


def test_a_seed_gives_the_same_files_and_another_seed_others():
    first = list(mutations(DATA, 50, 1))
    assert first == list(mutations(DATA, 50, 1))
    assert first != list(mutations(DATA, 50, 2))
    assert len(first) == 50


def test_nearly_all_differ_and_none_is_much_longer():
    blobs = list(mutations(DATA, 200, 3))
    assert len(set(blobs)) > 190
    assert sum(blob != DATA for blob in blobs) > 190
    assert max(map(len, blobs)) <= 2 * len(DATA) + 4096
    assert any(len(blob) < len(DATA) for blob in blobs)


def test_an_empty_file_can_be_damaged_too():
    assert len(list(mutations(b"", 50, 0))) == 50
