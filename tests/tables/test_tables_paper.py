import pytest

from dsnet.tables.literature import TABLE1, TABLE2, TABLE3, reported


def test_table1_is_in_the_papers_order() -> None:
    assert [row.attention for row in TABLE1] == ["none", "se", "sk", "ds"]


def test_table2_pairs_each_backbone_without_and_with_ds() -> None:
    assert [row.attention for row in TABLE2] == ["none", "ds"] * 3
    assert [row.backbone for row in TABLE2[::2]] == ["resnet50", "vgg16", "mobilenet_v2"]


def test_table3_ends_with_the_papers_own_row() -> None:
    own = TABLE3[-1]
    assert (own.images, own.classes, own.auc) == (4805, 3, None)
    assert (own.accuracy, own.recall) == (TABLE1[-1].accuracy, TABLE1[-1].recall)


def test_a_detector_that_the_paper_lacks() -> None:
    assert reported("resnet50", "eca") is None
    assert reported("mobilenet_v2", "ds") == TABLE2[-1]


def test_gains_of_the_table_are_points_not_the_texts_fractions_of_a_percent() -> None:
    none, ds = TABLE1[0], TABLE1[-1]
    gains = [ds.map - none.map, ds.recall - none.recall, ds.accuracy - none.accuracy]
    assert gains == pytest.approx([5.2, 1.9, 1.8])
