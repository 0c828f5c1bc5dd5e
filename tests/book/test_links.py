"""Protects: a link of a notebook or a page leads to its place in the book; a picture on another host is never asked for."""

import pytest

from dev.book.links import Links

PAGES = {
    "basics.ipynb": "basics.ipynb",
    "ko/basics.ipynb": "basics.ipynb",
    "docs/speed.md": "docs/speed.md",
    "README.md": "index.md",
}


@pytest.fixture
def links(tmp_path):
    for name in (
        "kotune/losses.py",
        "assets/plot.png",
        "assets/card.html",
        "data/rows.jsonl",
        "docs/speed.md",
        "basics.ipynb",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    return Links(tmp_path, PAGES)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("see [speed](docs/speed.md#figures)", "see [speed](/docs/speed.md#figures)"),
        ("[the README](README.md), [here](#below)", "[the README](/index.md), [here](#below)"),
        ("[a paper](https://arxiv.org/abs/2106.09685)", "[a paper](https://arxiv.org/abs/2106.09685)"),
        ("[`losses.py`](kotune/losses.py)", '<a href="files/kotune/losses.py.html">`losses.py`</a>'),
        ("[its lines](kotune/losses.py#L3-L9)", '<a href="files/kotune/losses.py.html#line-3">its lines</a>'),
        ("[rows](data/rows.jsonl)", '<a href="files/data/rows.jsonl">rows</a>'),
        ("![a plot](assets/plot.png)", "![a plot](/assets/plot.png)"),
        ('![a plot](assets/plot.png "its title")', '![a plot](/assets/plot.png "its title")'),
        ('<img src="assets/plot.png" width="9">', '<img src="files/assets/plot.png" width="9">'),
        ("`[no](link.md)` and\n```\n[no](link.md)\n```\n", "`[no](link.md)` and\n```\n[no](link.md)\n```\n"),
    ],
)  # fmt: skip
def test_a_link_at_the_top(links, text, made):
    assert links.rewrite(text, "basics.ipynb", "basics") == made
    assert links.broken == links.left_out == []


def test_a_link_of_a_korean_notebook_starts_from_its_folder(links):
    text = "[속도](../docs/speed.md), [코드](../kotune/losses.py), [기초](basics.ipynb)"
    assert links.rewrite(text, "ko/basics.ipynb", "basics") == (
        '[속도](/docs/speed.md), <a href="files/kotune/losses.py.html">코드</a>, [기초](/basics.ipynb)'
    )


def test_a_link_of_a_page_in_a_folder_goes_up(links):
    assert (
        links.rewrite("[c](../assets/card.html)", "docs/speed.md", "docs/speed")
        == '<a href="../files/assets/card.html">c</a>'
    )
    assert (
        links.rewrite('<a href="../basics.ipynb">b</a>', "docs/speed.md", "docs/speed") == '<a href="../basics.html">b</a>'
    )
    assert links.kept == {"assets/card.html"}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("[![Open in Colab](https://c.d/badge.svg)](https://c.d/run)", "[Open in Colab](https://c.d/run)"),
        (
            '<a href="https://c.d/run"><img alt="Colab" src="https://c.d/badge.svg"></a>',
            '<a href="https://c.d/run">Colab</a>',
        ),
    ],
)
def test_a_badge_of_another_host_becomes_its_words_and_is_counted(links, text, made):
    assert links.rewrite(text, "basics.ipynb", "basics") == made
    assert links.left_out == ["basics.ipynb: the picture https://c.d/badge.svg lies on another host"]


def test_what_leads_nowhere_is_said(links):
    links.rewrite("[a](nowhere.md) ![b](../no.png)", "docs/speed.md", "docs/speed")
    assert links.rewrite("[d](data/)", "basics.ipynb", "basics") == "d"
    assert links.broken == ["docs/speed.md: docs/nowhere.md", "docs/speed.md: ../no.png"]
    assert links.left_out == ["basics.ipynb: data/ is a folder"]
