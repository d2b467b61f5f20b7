import pytest

from trainables.cohorts.cohort import IGNORED, CohortError, Listing
from trainables.cohorts.label_map import class_table, read_label_map


@pytest.fixture
def csv(tmp_path):
    def write(text: str):
        (tmp_path / "map.csv").write_text(text)
        return tmp_path / "map.csv"

    return write


def test_values_merge_into_named_classes_in_the_order_of_to(csv):
    merged = read_label_map(csv("from,to,name\n0,0,background\n7,5,CSF\n4,1,grey (a,b)\n5,1,grey (a,b)\n9,ignore,\n"))
    table = class_table(Listing((), {0: "other", 3: "x"}, frozenset({4, 10})), merged, [])
    assert table.names == ("background", "grey (a,b)", "CSF")
    assert table.index == {0: 0, 7: 2, 4: 1, 5: 1, 9: IGNORED, 10: IGNORED}  # the map speaks of 4, so 4 counts


def test_layout_names_and_unnamed_values():
    named = class_table(Listing((), {0: "background", 3: "x", 8: "y"}, frozenset({9})), None, [3])
    assert (named.names, named.index) == (("background", "x", "y"), {0: 0, 3: 1, 8: 2, 9: IGNORED})
    unnamed = class_table(Listing(()), None, [255, 7])
    assert (unnamed.names, unnamed.index) == (("background", "label 7", "label 255"), {0: 0, 7: 1, 255: 2})


def test_all_problems_at_once(csv):
    text = "from,to,name\n0,0,background\n1.5,1,a\n2,x,a\n3,1,a\n3,1,a\n4,1,b\n5,2,\n"
    with pytest.raises(CohortError) as error:
        read_label_map(csv(text))
    lines = error.value.problems
    assert [number for number in range(2, 9) if any(f"line {number}:" in line for line in lines)] == [3, 4, 6, 7, 8]
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("from,to\n1,1\n", "name is missing"),
        ("", "from, to, name is missing"),
        ("from,to,name\n1,1,a\n", "background"),
    ],
)
def test_a_file_that_is_no_map(csv, text, words):
    with pytest.raises(CohortError, match=words):
        read_label_map(csv(text))


def test_no_such_file(tmp_path):
    with pytest.raises(CohortError, match="no such file"):
        read_label_map(tmp_path / "gone.csv")
